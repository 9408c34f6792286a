// Asks the functions by which Kubernetes and etcd read the files of a PKI: one JSON object a line on stdin, one answer a line on stdout.
// With the argument "make" it prints what such files can hold instead, in DER.
package main

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"go.etcd.io/etcd/client/pkg/v3/tlsutil"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/transport"
	"k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
)

type question struct {
	Reader string `json:"reader"`
	File   []byte `json:"file"`
}

type answer struct {
	// Why the file is refused; empty if it is not.
	Error string `json:"error"`
	// How many certificates or keys are taken.
	Taken int `json:"taken"`
}

// mismatch is not what is asked for: the other half of a pair is another one's.
func mismatch(err error) error {
	if err != nil && strings.Contains(err.Error(), "private key") && strings.Contains(err.Error(), "does not match public key") {
		return nil
	}
	return err
}

// pair is tls.X509KeyPair, and then what the other side does with each certificate.
func pair(file, key []byte) (int, error) {
	if _, err := tls.X509KeyPair(file, key); mismatch(err) != nil {
		return 0, err
	}
	taken := 0
	for {
		var block *pem.Block
		if block, file = pem.Decode(file); block == nil {
			return taken, nil
		}
		if block.Type == "CERTIFICATE" {
			if _, err := x509.ParseCertificate(block.Bytes); err != nil {
				return taken, err
			}
			taken++
		}
	}
}

// clientCA is the CA as client-go's transport loads it.
func clientCA(file []byte) (int, error) {
	config := transport.Config{TLS: transport.TLSConfig{CAData: file}}
	if len(file) == 0 {
		return 0, errors.New("empty")
	}
	made, err := transport.TLSConfigFor(&config)
	if err != nil {
		return 0, err
	}
	return len(made.RootCAs.Subjects()), nil //nolint:staticcheck
}

func etcdCA(dir string, file []byte) (int, error) {
	path := filepath.Join(dir, "ca.crt")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		return 0, err
	}
	pool, err := tlsutil.NewCertPool([]string{path})
	if err != nil {
		return 0, err
	}
	taken := len(pool.Subjects()) //nolint:staticcheck
	if taken == 0 {
		return 0, errors.New("an empty pool trusts nobody")
	}
	return taken, nil
}

// tokenKey is keyutil's, and then what serviceaccount.JWTTokenGenerator takes.
func tokenKey(file []byte) (int, error) {
	key, err := keyutil.ParsePrivateKeyPEM(file)
	if err != nil {
		return 0, err
	}
	switch key := key.(type) {
	case *rsa.PrivateKey:
	case *ecdsa.PrivateKey:
		if key.Curve != elliptic.P256() && key.Curve != elliptic.P384() && key.Curve != elliptic.P521() {
			return 0, errors.New("unknown private key curve, must be 256, 384, or 521")
		}
	default:
		return 0, fmt.Errorf("unknown private key type %T", key)
	}
	return 1, nil
}

// kubeconfig is what a component does that is told --kubeconfig, up to the first connection.
func kubeconfig(dir string, file []byte) error {
	path := filepath.Join(dir, "kubeconfig")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		return err
	}
	if _, _, err := rest.DefaultServerUrlFor(config); err != nil {
		return err
	}
	made, err := rest.TLSConfigFor(config)
	if err != nil {
		return err
	}
	// A program that gets a certificate is not run.
	if made != nil && made.GetClientCertificate != nil && config.ExecProvider == nil {
		_, err = made.GetClientCertificate(nil)
	}
	return err
}

func ask(dir string, q question) (int, error) {
	switch q.Reader {
	case "pair":
		return pair(q.File, goodKey)
	case "pair-key":
		_, err := tls.X509KeyPair(goodCertificate, q.File)
		return 1, mismatch(err)
	case "both":
		return pair(q.File, q.File)
	case "certificates":
		certs, err := cert.ParseCertsPEM(q.File)
		return len(certs), err
	case "pool":
		return clientCA(q.File)
	case "etcd-pool":
		return etcdCA(dir, q.File)
	case "token-key":
		return tokenKey(q.File)
	case "signing-key":
		if _, err := tls.X509KeyPair(goodCertificate, q.File); mismatch(err) != nil {
			return 0, err
		}
		key, err := keyutil.ParsePrivateKeyPEM(q.File)
		if err != nil {
			return 0, err
		}
		if _, ok := key.(crypto.Signer); !ok {
			return 0, fmt.Errorf("%T signs nothing", key)
		}
		return 1, nil
	case "token-keys":
		keys, err := keyutil.ParsePublicKeysPEM(q.File)
		return len(keys), err
	case "kubeconfig":
		return 0, kubeconfig(dir, q.File)
	}
	panic(q.Reader)
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "make" {
		if err := json.NewEncoder(os.Stdout).Encode(make_()); err != nil {
			panic(err)
		}
		return
	}
	dir, err := os.MkdirTemp("", "readers")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 64<<20)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for in.Scan() {
		var q question
		if err := json.NewDecoder(bytes.NewReader(in.Bytes())).Decode(&q); err != nil {
			panic(err)
		}
		taken, err := ask(dir, q)
		a := answer{Taken: taken}
		if err != nil {
			a = answer{Error: err.Error()}
			if a.Error == "" {
				a.Error = "refused"
			}
		}
		line, err := json.Marshal(a)
		if err != nil {
			panic(err)
		}
		fmt.Fprintln(out, string(line))
	}
	if err := in.Err(); err != nil {
		panic(err)
	}
}
