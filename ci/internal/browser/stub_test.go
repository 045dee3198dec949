package browser_test

func stopChromium() {}
