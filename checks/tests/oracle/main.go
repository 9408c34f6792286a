// Asks Go's crypto/x509: one JSON object a line on stdin, one answer a line on stdout. An empty answer accepts, any other is the error.
// With the argument "make" it prints such objects instead, of chains with keys of every kind.
package main

import (
	"bufio"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"
)

type question struct {
	Leaf          []byte   `json:"leaf"`
	Intermediates [][]byte `json:"intermediates"`
	Roots         [][]byte `json:"roots"`
	Usage         string   `json:"usage"`
	Names         []string `json:"names"`
	Time          int64    `json:"time"`
}

var usages = map[string]x509.ExtKeyUsage{
	"server": x509.ExtKeyUsageServerAuth,
	"client": x509.ExtKeyUsageClientAuth,
	"any":    x509.ExtKeyUsageAny,
}

// pool holds what can be parsed, as AppendCertsFromPEM does.
func pool(all [][]byte) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, der := range all {
		if cert, err := x509.ParseCertificate(der); err == nil {
			pool.AddCert(cert)
		}
	}
	return pool
}

func ask(q question) error {
	leaf, err := x509.ParseCertificate(q.Leaf)
	if err != nil {
		return fmt.Errorf("parse: %w", err)
	}
	options := x509.VerifyOptions{
		Roots:         pool(q.Roots),
		Intermediates: pool(q.Intermediates),
		CurrentTime:   time.Unix(q.Time, 0),
		KeyUsages:     []x509.ExtKeyUsage{usages[q.Usage]},
	}
	if _, err := leaf.Verify(options); err != nil {
		return err
	}
	for _, name := range q.Names {
		if err := leaf.VerifyHostname(name); err != nil {
			return err
		}
	}
	return nil
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "make" {
		makeChains()
		return
	}
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 64<<20)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for in.Scan() {
		var q question
		if err := json.Unmarshal(in.Bytes(), &q); err != nil {
			panic(err)
		}
		answer := ""
		if err := ask(q); err != nil {
			answer = strings.ReplaceAll(err.Error(), "\n", " ")
		}
		fmt.Fprintln(out, answer)
	}
	if err := in.Err(); err != nil {
		panic(err)
	}
}
