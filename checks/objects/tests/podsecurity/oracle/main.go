// The oracle: what k8s.io/pod-security-admission says of objects and of a namespace's labels, one JSON document a line.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	kjson "sigs.k8s.io/json"
)

// A question is an object and the policies that it is held to, or the labels of a namespace.
type question struct {
	Object   json.RawMessage   `json:"object"`
	Policies []string          `json:"policies"`
	Labels   map[string]string `json:"labels"`
}

type result struct {
	Reason string `json:"reason"`
	Detail string `json:"detail"`
}

// An answer has a result for each policy, null where the pod is allowed; or the policies of the labels.
type answer struct {
	Error   string    `json:"error"`
	NoPod   bool      `json:"no_pod"`
	Results []*result `json:"results"`
	Policy  []string  `json:"policy"`
	Errors  []string  `json:"errors"`
}

// decode reads an object as the API server does: names of fields are case-sensitive.
func decode[T any](data []byte, template func(*T) *corev1.PodTemplateSpec) (*corev1.PodTemplateSpec, error) {
	var object T
	if err := kjson.UnmarshalCaseSensitivePreserveInts(data, &object); err != nil {
		return nil, err
	}
	return template(&object), nil
}

// extract is DefaultPodSpecExtractor, whose package links half of the API server.
func extract(data []byte) (*corev1.PodTemplateSpec, error) {
	var head struct {
		Kind string `json:"kind"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, err
	}
	switch head.Kind {
	case "Pod":
		return decode(data, func(o *corev1.Pod) *corev1.PodTemplateSpec {
			return &corev1.PodTemplateSpec{ObjectMeta: o.ObjectMeta, Spec: o.Spec}
		})
	case "PodTemplate":
		return decode(data, func(o *corev1.PodTemplate) *corev1.PodTemplateSpec { return &o.Template })
	case "ReplicationController":
		return decode(data, func(o *corev1.ReplicationController) *corev1.PodTemplateSpec { return o.Spec.Template })
	case "ReplicaSet":
		return decode(data, func(o *appsv1.ReplicaSet) *corev1.PodTemplateSpec { return &o.Spec.Template })
	case "Deployment":
		return decode(data, func(o *appsv1.Deployment) *corev1.PodTemplateSpec { return &o.Spec.Template })
	case "StatefulSet":
		return decode(data, func(o *appsv1.StatefulSet) *corev1.PodTemplateSpec { return &o.Spec.Template })
	case "DaemonSet":
		return decode(data, func(o *appsv1.DaemonSet) *corev1.PodTemplateSpec { return &o.Spec.Template })
	case "Job":
		return decode(data, func(o *batchv1.Job) *corev1.PodTemplateSpec { return &o.Spec.Template })
	case "CronJob":
		return decode(data, func(o *batchv1.CronJob) *corev1.PodTemplateSpec {
			return &o.Spec.JobTemplate.Spec.Template
		})
	}
	return nil, fmt.Errorf("unexpected kind %s", head.Kind)
}

func ask(evaluator policy.Evaluator, question question) (answer answer) {
	if question.Object == nil {
		privileged := api.LevelVersion{Level: api.LevelPrivileged, Version: api.LatestVersion()}
		defaults := api.Policy{Enforce: privileged, Audit: privileged, Warn: privileged}
		policy, errs := api.PolicyToEvaluate(question.Labels, defaults)
		answer.Policy = []string{policy.Enforce.String(), policy.Audit.String(), policy.Warn.String()}
		for _, err := range errs {
			answer.Errors = append(answer.Errors, err.Error())
		}
		return answer
	}
	template, err := extract(question.Object)
	if err != nil {
		answer.Error = err.Error()
		return answer
	}
	if template == nil {
		answer.NoPod = true
		return answer
	}
	for _, text := range question.Policies {
		level, version, _ := strings.Cut(text, ":")
		parsed := api.LevelVersion{}
		if parsed.Level, err = api.ParseLevel(level); err == nil {
			parsed.Version, err = api.ParseVersion(version)
		}
		if err != nil {
			panic(err)
		}
		all := policy.AggregateCheckResults(evaluator.EvaluatePod(parsed, &template.ObjectMeta, &template.Spec))
		if all.Allowed {
			answer.Results = append(answer.Results, nil)
		} else {
			answer.Results = append(answer.Results, &result{all.ForbiddenReason(), all.ForbiddenDetail()})
		}
	}
	return answer
}

func main() {
	evaluator, err := newEvaluator()
	if err != nil {
		panic(err)
	}
	lines, out := bufio.NewScanner(os.Stdin), bufio.NewWriter(os.Stdout)
	lines.Buffer(nil, 64<<20)
	answers := json.NewEncoder(out)
	answers.SetEscapeHTML(false)
	for lines.Scan() {
		var question question
		if err := json.Unmarshal(lines.Bytes(), &question); err != nil {
			panic(fmt.Sprintf("%v: %s", err, lines.Bytes()))
		}
		if err := answers.Encode(ask(evaluator, question)); err != nil {
			panic(err)
		}
	}
	if err := lines.Err(); err != nil {
		panic(err)
	}
	out.Flush()
}
