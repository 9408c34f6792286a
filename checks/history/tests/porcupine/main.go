// Reads histories of one key, one JSON array a line, and prints for each whether porcupine calls it linearizable.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"os"

	"github.com/anishathalye/porcupine"
)

type seen struct {
	Payload uint64 `json:"payload"`
}

type action struct {
	Verb     string `json:"verb"`
	Payload  uint64 `json:"payload"`
	Replaces *seen  `json:"replaces"`
}

type outcome struct {
	Result string `json:"result"`
	Seen   seen   `json:"seen"`
}

type operation struct {
	Client    int     `json:"client"`
	Action    action  `json:"action"`
	Invoked   int64   `json:"invoked"`
	Completed *int64  `json:"completed"`
	Outcome   outcome `json:"outcome"`
}

// The state is the payload, 0 for no object.
func step(state, input, output any) (bool, any) {
	held, asked, told := state.(uint64), input.(action), output.(outcome)
	result, next := "found", held
	switch asked.Verb {
	case "create":
		if held != 0 {
			result = "alreadyExists"
		} else {
			result, next = "done", asked.Payload
		}
	case "update", "delete":
		switch {
		case held == 0:
			result = "notFound"
		case asked.Replaces != nil && asked.Replaces.Payload != held:
			result = "conflict"
		default:
			result, next = "done", asked.Payload
		}
	case "get":
		if held == 0 {
			result = "notFound"
		}
	}
	switch told.Result {
	case "unknown":
		return true, next
	case "found":
		return result == "found" && told.Seen.Payload == held, held
	case "conflict":
		return result == "conflict" || result == "notFound", held
	default:
		return result == told.Result, next
	}
}

func main() {
	model := porcupine.Model{Init: func() any { return uint64(0) }, Step: step}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var history []operation
		if err := json.Unmarshal(lines.Bytes(), &history); err != nil {
			panic(err)
		}
		var operations []porcupine.Operation
		for at, one := range history {
			end := int64(math.MaxInt64)
			if one.Outcome.Result != "unknown" {
				end = *one.Completed
			}
			// A client whose request got no answer goes on under another number: its request has not ended.
			operations = append(operations, porcupine.Operation{
				ClientId: at, Input: one.Action, Call: one.Invoked, Output: one.Outcome, Return: end,
			})
		}
		fmt.Println(porcupine.CheckOperations(model, operations))
	}
}
