package delivery

import (
	"context"
	"time"

	"github.com/slipway-cd/slipway/ci/internal/awsauth"
	"github.com/slipway-cd/slipway/ci/internal/report"
)

// Figures returns the figures of the last releases. Lead times need the commits in the source
// tree's repository.
func (d Delivery) Figures(ctx context.Context) (report.Figures, error) {
	figures, err := d.engine().Figures(ctx, d.Services, func(sha string) (time.Time, bool) {
		at, err := d.Source.CommitTime(ctx, sha)
		return at, err == nil
	})
	return figures, awsauth.Explain(err)
}
