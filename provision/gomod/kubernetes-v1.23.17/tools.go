//go:build tools

// Package tools names the commands to build, so that `go mod tidy` keeps what they need and nothing else.
package tools

import (
	// Makes a file of kube-apiserver's that the released module lacks.
	_ "k8s.io/kube-openapi/cmd/openapi-gen"

	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
	_ "k8s.io/kubernetes/cmd/kube-proxy"
	_ "k8s.io/kubernetes/cmd/kube-scheduler"
	_ "k8s.io/kubernetes/cmd/kubeadm"
	_ "k8s.io/kubernetes/cmd/kubectl"
	_ "k8s.io/kubernetes/cmd/kubelet"
)
