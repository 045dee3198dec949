package gotest

import (
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		starts := 0
		p := &progress{module: "app", total: 3, started: time.Now(), onStart: func() { starts++ }}
		var told []string
		stop := p.report(func(line string) { told = append(told, line) })
		time.Sleep(progressInterval) // synctest's time
		synctest.Wait()
		for _, part := range []string{
			`{"Action":"start","Package":"example.com/app"}` + "\n" + `{"Action":"pass","Package":"example.com/app","Test":"TestA"}` + "\n" + `{"Action":"pa`,
			`ss","Package":"example.com/app"}` + "\n" + `{"Action":"skip","Package":"example.com/app/cmd"}` + "\nnot an event\n",
		} {
			n, err := p.Write([]byte(part))
			require.NoError(t, err)
			require.Len(t, part, n)
		}
		time.Sleep(progressInterval)
		synctest.Wait()
		stop()
		require.Equal(t, 1, starts)
		require.Equal(t, []string{
			"app: compiling, no package of 3 tested yet, 5s",
			"app: 2 of 3 packages tested, 10s",
		}, told)
	})
}

func TestCountPackages(t *testing.T) {
	root := write(t, map[string]string{
		"app/go.mod": "", "app/main.go": "", "app/main_test.go": "", "app/internal/a/a.go": "", "app/docs/README.md": "",
		"app/testdata/x.go": "", "app/vendor/v/v.go": "", "app/_old/o.go": "", "app/.git/g.go": "", "app/other/go.mod": "", "app/other/o.go": "",
	})
	require.Equal(t, 2, module{tree: os.DirFS(root), dir: "app"}.packages())
}
