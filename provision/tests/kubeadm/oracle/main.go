// Asks kubeadm's own loader: one JSON object a line on stdin, one answer a line on stdout. An empty answer accepts the
// file, any other is the error.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"k8s.io/klog/v2"

	"k8s.io/kubernetes/cmd/kubeadm/app/util/config"
)

func ask(text string) (err error) {
	defer func() {
		if broken := recover(); broken != nil {
			err = fmt.Errorf("panic: %v", broken)
		}
	}()
	return config.ValidateConfig([]byte(text), true, false)
}

func main() {
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 64<<20)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for in.Scan() {
		var question struct{ Text string }
		if err := json.Unmarshal(in.Bytes(), &question); err != nil {
			panic(err)
		}
		answer := ""
		if err := ask(question.Text); err != nil {
			answer = strings.ReplaceAll(err.Error(), "\n", " ")
		}
		fmt.Fprintln(out, answer)
	}
	if err := in.Err(); err != nil {
		panic(err)
	}
}
