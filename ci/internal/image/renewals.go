package image

// Renewals is what became of the lock file's images: `lock` returns it.
type Renewals struct {
	Images []Renewed `json:"images"`
}

// Renewed is one image of [Renewals].
type Renewed struct {
	Renewal
	State LockState `json:"state"`
}

// LockState is how an image of the lock file stands, in words.
type LockState string

// The states. Of a check the second and third, of a renewal the last.
const (
	UpToDate  LockState = "up to date"
	NotLocked LockState = "not locked"
	Stale     LockState = "stale"
	Locked    LockState = "locked" // to what its registry has now
)

// NewRenewals tells what became of images: with check they were only looked at.
func NewRenewals(renewals []Renewal, check bool) Renewals {
	all := Renewals{Images: []Renewed{}}
	for _, r := range renewals {
		state := Locked
		switch {
		case !r.Stale():
			state = UpToDate
		case check && r.Locked == "":
			state = NotLocked
		case check:
			state = Stale
		}
		all.Images = append(all.Images, Renewed{r, state})
	}
	return all
}
