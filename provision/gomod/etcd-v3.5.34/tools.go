//go:build tools

// Package tools names the commands to build, so that `go mod tidy` keeps what they need and nothing else.
package tools

import (
	_ "go.etcd.io/etcd/etcdctl/v3"
	_ "go.etcd.io/etcd/etcdutl/v3"
	_ "go.etcd.io/etcd/server/v3"
)
