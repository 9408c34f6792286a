package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"time"
)

// A chain made here, to be verified on both sides.
type made struct {
	Label string `json:"label"`
	question
}

func rsaKey(bits int) crypto.Signer {
	// Of several primes, large ones are found sooner.
	primes := 2
	if bits > 4096 {
		primes = 5
	}
	key, err := rsa.GenerateMultiPrimeKey(rand.Reader, primes, bits)
	if err != nil {
		panic(err)
	}
	return key
}

func ecKey(curve elliptic.Curve) crypto.Signer {
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}

func ed25519Key() crypto.Signer {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}

// makeChains prints a chain for every kind of key and every way to sign with it.
func makeChains() {
	os.Setenv("GODEBUG", "rsa1024min=0")
	rsaWays := []x509.SignatureAlgorithm{x509.SHA1WithRSA, x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA, x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS}
	ecWays := []x509.SignatureAlgorithm{x509.ECDSAWithSHA1, x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512}
	kinds := []struct {
		name string
		key  crypto.Signer
		ways []x509.SignatureAlgorithm
	}{
		{"RSA-512", rsaKey(512), rsaWays[:2]},
		{"RSA-1023", rsaKey(1023), rsaWays[:3]},
		{"RSA-1024", rsaKey(1024), rsaWays[:6]},
		{"RSA-2048", rsaKey(2048), rsaWays},
		{"RSA-3072", rsaKey(3072), rsaWays[:2]},
		{"RSA-4096", rsaKey(4096), rsaWays[:2]},
		{"RSA-8200", rsaKey(8200), rsaWays[1:2]},
		{"P-224", ecKey(elliptic.P224()), ecWays[1:2]},
		{"P-256", ecKey(elliptic.P256()), ecWays},
		{"P-384", ecKey(elliptic.P384()), ecWays},
		{"P-521", ecKey(elliptic.P521()), ecWays},
		{"Ed25519", ed25519Key(), []x509.SignatureAlgorithm{x509.PureEd25519}},
	}
	now := time.Now()
	out := json.NewEncoder(os.Stdout)
	for _, kind := range kinds {
		for _, way := range kind.ways {
			ca := &x509.Certificate{
				SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
				IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
			}
			leaf := &x509.Certificate{
				SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "leaf"}, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
				DNSNames: []string{"kubernetes"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, SignatureAlgorithm: way,
			}
			root, err := x509.CreateCertificate(rand.Reader, ca, ca, kind.key.Public(), kind.key)
			if err != nil {
				continue
			}
			der, err := x509.CreateCertificate(rand.Reader, leaf, ca, kind.key.Public(), kind.key)
			if err != nil {
				// A key of 512 bits is too small for some hashes.
				continue
			}
			q := question{Leaf: der, Roots: [][]byte{root}, Usage: "server", Names: []string{"kubernetes"}, Time: now.Unix()}
			if err := out.Encode(made{fmt.Sprintf("%s %s", kind.name, way), q}); err != nil {
				panic(err)
			}
		}
	}
}
