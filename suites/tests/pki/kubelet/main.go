// Asks the kubelet's own reader of static pods: one folder a case, one line of JSON an answer, in the order of the arguments.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	"k8s.io/kubernetes/pkg/kubelet/config"
	kubetypes "k8s.io/kubernetes/pkg/kubelet/types"
)

type nobody struct{}

func (nobody) ObservedPodOnWatch(logr.Logger, *v1.Pod, time.Time) {}

type container struct {
	Words  []string    `json:"words"`
	Mounts [][3]string `json:"mounts"`
}

type answer struct {
	Case    string                 `json:"case"`
	Pods    map[string][]container `json:"pods"`
	Refused map[string]string      `json:"refused"`
}

// sink keeps the errors that the reader logs, by file.
type sink struct {
	logr.LogSink
	refused map[string]string
}

func (s sink) Error(err error, message string, pairs ...interface{}) {
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i] == "path" {
			s.refused[filepath.Base(fmt.Sprint(pairs[i+1]))] = fmt.Sprintf("%s: %v", message, err)
		}
	}
}

func ask(dir string) answer {
	out := answer{Case: filepath.Base(dir), Pods: map[string][]container{}, Refused: map[string]string{}}
	logger := logr.New(sink{funcr.New(func(string, string) {}, funcr.Options{}).GetSink(), out.Refused})
	ctx, cancel := context.WithCancel(logr.NewContext(context.Background(), logger))
	defer cancel()
	pods := config.NewPodConfig(record.NewFakeRecorder(100), nobody{})
	config.NewSourceFile(logger, dir, types.NodeName("cp1"), time.Hour, pods.Channel(ctx, kubetypes.FileSource))
	for {
		select {
		case update := <-pods.Updates():
			for _, pod := range update.Pods {
				out.Pods[pod.Namespace+"/"+pod.Name] = containers(pod)
			}
			if update.Op == kubetypes.ADD {
				return out
			}
		case <-time.After(2 * time.Second):
			return out
		}
	}
}

func containers(pod *v1.Pod) []container {
	hosts := map[string]string{}
	for _, volume := range pod.Spec.Volumes {
		if volume.HostPath != nil {
			hosts[volume.Name] = volume.HostPath.Path
		}
	}
	all := []container{}
	for _, one := range pod.Spec.Containers {
		words := append(append([]string{}, one.Command...), one.Args...)
		mounts := [][3]string{}
		for _, mount := range one.VolumeMounts {
			mounts = append(mounts, [3]string{mount.MountPath, hosts[mount.Name], mount.SubPath})
		}
		all = append(all, container{words, mounts})
	}
	return all
}

func main() {
	out := json.NewEncoder(os.Stdout)
	for _, dir := range os.Args[1:] {
		if err := out.Encode(ask(dir)); err != nil {
			panic(err)
		}
	}
}
