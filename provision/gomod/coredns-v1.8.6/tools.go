//go:build tools

// Package tools names the command to build, so that `go mod tidy` keeps what it needs and nothing else.
package tools

import _ "github.com/coredns/coredns"
