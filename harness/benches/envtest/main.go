// Starts etcd and kube-apiserver as envtest does, says how long that took and stops them again: the peer that
// .ci/bench-cluster holds `seaworthy cluster up` against. KUBEBUILDER_ASSETS names the folder of the programs.
// Prints two durations in seconds: until Start was through, and until the API server called itself ready.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

func main() {
	fsync := flag.Bool("fsync", false, "let etcd wait for the disk, which envtest's does not")
	flag.Parse()
	if err := run(*fsync); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(fsync bool) error {
	// A busy machine takes longer than the 20 s that it would be given.
	environment := &envtest.Environment{ControlPlaneStartTimeout: time.Minute}
	if fsync {
		environment.ControlPlane.Etcd = &envtest.Etcd{}
		environment.ControlPlane.Etcd.Configure().Disable("unsafe-no-fsync")
	}
	begun := time.Now()
	config, err := environment.Start()
	if err != nil {
		return err
	}
	defer environment.Stop()
	through := time.Since(begun)
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	// Start asks /healthz; of the hooks behind /readyz one makes the first rules of RBAC.
	for {
		err = client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(context.Background()).Error()
		if err == nil {
			break
		}
		if time.Since(begun) > time.Minute {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
	fmt.Printf("%.3f %.3f\n", through.Seconds(), time.Since(begun).Seconds())
	return nil
}
