package scheduler

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// expression is a parsed schedule expression.
// https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
type expression interface {
	// next returns the first time after a moment, or false if there is none. A rate
	// counts from start.
	next(after, start time.Time) (time.Time, bool)
}

var (
	rateForm = regexp.MustCompile(`^rate\(([1-9][0-9]*) (minute|hour|day)s?\)$`)
	atForm   = regexp.MustCompile(`^at\((\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})\)$`)
	cronForm = regexp.MustCompile(`^cron\((\S+) (\S+) (\S+) (\S+) (\S+) (\S+)\)$`)
)

// parseExpression parses a schedule expression, whose times are in a time zone.
func parseExpression(text string, zone *time.Location) (expression, error) {
	if m := rateForm.FindStringSubmatch(text); m != nil {
		n, err := strconv.Atoi(m[1])
		unit := map[string]time.Duration{"minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour}[m[2]]
		return rate(time.Duration(n) * unit), err
	}
	if m := atForm.FindStringSubmatch(text); m != nil {
		at, err := time.ParseInLocation("2006-01-02T15:04:05", m[1], zone)
		return once(at), err
	}
	if m := cronForm.FindStringSubmatch(text); m != nil {
		return parseCron(m[1:], zone)
	}
	return nil, fmt.Errorf("want rate(N UNIT), cron(FIELDS) or at(TIME)")
}

// rate is the period of a rate expression. The first run is at the start.
type rate time.Duration

func (r rate) next(after, start time.Time) (time.Time, bool) {
	if after.Before(start) {
		return start, true
	}
	periods := after.Sub(start)/time.Duration(r) + 1
	return start.Add(periods * time.Duration(r)), true
}

// once is the time of an at expression.
type once time.Time

func (o once) next(after, _ time.Time) (time.Time, bool) {
	return time.Time(o), after.Before(time.Time(o))
}

// cron is a parsed cron expression.
type cron struct {
	zone                          *time.Location
	minutes, hours, months, years []bool // by value
	day                           func(time.Time) bool
}

const lastYear = 2199

func (c cron) next(after, start time.Time) (time.Time, bool) {
	if after.Before(start) {
		after = start.Add(-time.Nanosecond)
	}
	at := after.In(c.zone).Truncate(time.Minute).Add(time.Minute)
	for at.Year() <= lastYear {
		year, month, day := at.Date()
		switch {
		case !c.years[year]:
			at = time.Date(year+1, 1, 1, 0, 0, 0, 0, c.zone)
		case !c.months[month]:
			at = time.Date(year, month+1, 1, 0, 0, 0, 0, c.zone)
		case !c.day(at):
			at = time.Date(year, month, day+1, 0, 0, 0, 0, c.zone)
		case !c.hours[at.Hour()] || !c.minutes[at.Minute()]:
			at = at.Add(time.Minute)
		default:
			return at, true
		}
	}
	return time.Time{}, false
}

var (
	monthNames = []string{"", "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"}
	dayNames   = []string{"", "SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}
)

// parseCron parses minutes, hours, day of month, month, day of week and year. One of the
// days, and only one, is "?".
func parseCron(fields []string, zone *time.Location) (expression, error) {
	c := cron{zone: zone}
	for _, f := range []struct {
		set           *[]bool
		text          string
		lowest, limit int
		names         []string
	}{
		{&c.minutes, fields[0], 0, 59, nil},
		{&c.hours, fields[1], 0, 23, nil},
		{&c.months, fields[3], 1, 12, monthNames},
		{&c.years, fields[5], 1970, lastYear, nil},
	} {
		*f.set = make([]bool, f.limit+1)
		for item := range strings.SplitSeq(f.text, ",") {
			if err := addRange(*f.set, item, f.lowest, f.limit, f.names); err != nil {
				return nil, err
			}
		}
	}
	if (fields[2] == "?") == (fields[4] == "?") {
		return nil, fmt.Errorf("one of day of month and day of week, and only one, must be ?")
	}
	text, parse := fields[2], monthDay
	if text == "?" {
		text, parse = fields[4], weekday
	}
	var days []func(time.Time) bool
	for item := range strings.SplitSeq(text, ",") {
		day, err := parse(item)
		if err != nil {
			return nil, err
		}
		days = append(days, day)
	}
	c.day = func(at time.Time) bool {
		return slices.ContainsFunc(days, func(day func(time.Time) bool) bool { return day(at) })
	}
	return c, nil
}

// addRange adds *, N, N-M, each optionally with /STEP, or /STEP alone, to a set.
func addRange(set []bool, item string, lowest, limit int, names []string) error {
	span, step, stepped := strings.Cut(item, "/")
	from, to, ranged := strings.Cut(span, "-")
	first, last, by := lowest, limit, 1
	var err error
	if span != "*" && (span != "" || !stepped) {
		if first, err = number(from, lowest, limit, names); err != nil {
			return err
		}
		if !stepped {
			last = first
		}
	}
	if ranged {
		if last, err = number(to, lowest, limit, names); err != nil {
			return err
		}
	}
	if stepped {
		if by, err = strconv.Atoi(step); err != nil || by < 1 {
			return fmt.Errorf("%q has an invalid step", item)
		}
	}
	if last < first { // such as SAT-MON
		last += limit - lowest + 1
	}
	for n := first; n <= last; n += by {
		set[lowest+(n-lowest)%(limit-lowest+1)] = true
	}
	return nil
}

func number(text string, lowest, limit int, names []string) (int, error) {
	if n := slices.Index(names, strings.ToUpper(text)); n > 0 {
		return n, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < lowest || n > limit {
		return 0, fmt.Errorf("%q is not between %d and %d", text, lowest, limit)
	}
	return n, nil
}

// monthDay parses an item of the day of month: a range, L (the last day), L-N (N days
// before it), LW (the last weekday) or NW (the weekday nearest to N).
func monthDay(item string) (func(time.Time) bool, error) {
	if before, ok := strings.CutPrefix(item, "L-"); ok {
		n, err := number(before, 0, 30, nil)
		return func(at time.Time) bool { return at.Day() == lastDay(at)-n }, err
	}
	switch day, nearest := strings.CutSuffix(item, "W"); {
	case item == "L":
		return func(at time.Time) bool { return at.Day() == lastDay(at) }, nil
	case nearest:
		n, err := 0, error(nil)
		if day != "L" {
			n, err = number(day, 1, 31, nil)
		}
		return func(at time.Time) bool {
			target := n
			if day == "L" {
				target = lastDay(at)
			}
			return target <= lastDay(at) && at.Day() == nearestWeekday(at, target)
		}, err
	}
	set := make([]bool, 32)
	return func(at time.Time) bool { return set[at.Day()] }, addRange(set, item, 1, 31, nil)
}

func lastDay(at time.Time) int {
	return time.Date(at.Year(), at.Month()+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

// nearestWeekday returns the day from Monday to Friday that is nearest to a day, in the
// same month.
func nearestWeekday(at time.Time, day int) int {
	switch time.Date(at.Year(), at.Month(), day, 0, 0, 0, 0, time.UTC).Weekday() {
	case time.Saturday:
		if day == 1 {
			return day + 2
		}
		return day - 1
	case time.Sunday:
		if day == lastDay(at) {
			return day - 2
		}
		return day + 1
	default:
		return day
	}
}

// weekday parses an item of the day of week, where 1 is Sunday: a range, L (Saturday), NL
// (the last N of the month) or N#K (the K-th N of the month).
func weekday(item string) (func(time.Time) bool, error) {
	if item == "L" {
		item = "7"
	}
	if day, last := strings.CutSuffix(item, "L"); last && day != "" {
		n, err := number(day, 1, 7, dayNames)
		return func(at time.Time) bool { return int(at.Weekday())+1 == n && at.Day()+7 > lastDay(at) }, err
	}
	if day, nth, ok := strings.Cut(item, "#"); ok {
		n, err := number(day, 1, 7, dayNames)
		if err != nil {
			return nil, err
		}
		k, err := number(nth, 1, 5, nil)
		return func(at time.Time) bool { return int(at.Weekday())+1 == n && (at.Day()+6)/7 == k }, err
	}
	set := make([]bool, 8)
	return func(at time.Time) bool { return set[int(at.Weekday())+1] }, addRange(set, item, 1, 7, dayNames)
}
