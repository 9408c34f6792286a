//go:build tools

// Package kwok pins kwok, the peer that .ci/bench-cluster holds `seaworthy cluster up` against.
package kwok

import (
	_ "sigs.k8s.io/kwok/cmd/kwok"
	_ "sigs.k8s.io/kwok/cmd/kwokctl"
)
