// Prints what a kubelet merges of its flags and its file, for releases that log it nowhere: the KubeletConfiguration of 1.23
// inherits the String method of its TypeMeta, so that its log line has nothing else. Such a kubelet says it at /configz, which
// it serves once it has reached its API server and its runtime.
//
// The whole kubelet runs in this process. Its kubeconfig is a FIFO: when the kubelet opens it, /configz is filled, and the
// kubelet waits.
package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"

	"k8s.io/component-base/configz"
	_ "k8s.io/component-base/logs/json/register" // As cmd/kubelet has it: with the format, its flags are registered.
	"k8s.io/kubernetes/cmd/kubelet/app"
)

// The first argument is the FIFO; the kubelet is given the others.
func main() {
	go answer(os.Args[1])
	command := app.NewKubeletCommand()
	command.SetArgs(os.Args[2:])
	if err := command.Execute(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(1)
}

func answer(kubeconfig string) {
	if _, err := os.OpenFile(kubeconfig, os.O_WRONLY, 0); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	mux := http.NewServeMux()
	configz.InstallHandler(mux)
	response := httptest.NewRecorder()
	mux.ServeHTTP(response, httptest.NewRequest(http.MethodGet, "/configz", nil))
	if _, err := os.Stdout.Write(response.Body.Bytes()); err != nil {
		os.Exit(2)
	}
	os.Exit(0)
}
