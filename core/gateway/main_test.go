package gateway_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"mimigate/bridges"
	"mimigate/core/config"
	"mimigate/core/gateway"
)

// serveEnv names the configuration with which the test binary is the gateway itself: a process that a test can kill.
const serveEnv = "MIMIGATE_TEST_SERVE"

func TestMain(m *testing.M) {
	if file := os.Getenv(serveEnv); file != "" {
		if err := serve(file); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	if err := postgres.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func serve(file string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	drivers := bridges.Drivers()
	for _, name := range []string{"a", "b", "c", "d"} {
		drivers["wirechat-"+name] = wirechatDriver()
	}
	c, err := config.Load(config.Options{Path: file, Drivers: drivers, Suites: gateway.Suites()})
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	g, err := gateway.New(ctx, gateway.Options{Config: c, Drivers: drivers, Log: log})
	if err != nil {
		return err
	}
	return g.Run(ctx)
}
