package main

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"time"
)

var goodCertificate, goodKey = good()

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// certificate signs a certificate of a key with itself.
func certificate(key crypto.Signer, change func(*x509.Certificate)) []byte {
	template := x509.Certificate{
		SerialNumber:          big.NewInt(time.Now().UnixNano()),
		Subject:               pkix.Name{CommonName: "made"},
		DNSNames:              []string{"made.test"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(300 * 24 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	if change != nil {
		change(&template)
	}
	return must(x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key))
}

func good() ([]byte, []byte) {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	crt := certificate(key, nil)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: crt}),
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: must(x509.MarshalECPrivateKey(key))})
}

// make_ is what a block of PEM can hold, by name.
func make_() map[string][]byte {
	all := map[string][]byte{}
	rsaKey := must(rsa.GenerateKey(rand.Reader, 2048))
	keys := map[string]crypto.Signer{
		"rsa":     rsaKey,
		"p224":    must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader)),
		"p256":    must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)),
		"p384":    must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)),
		"p521":    must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)),
		"ed25519": must2(ed25519.GenerateKey(rand.Reader)),
	}
	for name, key := range keys {
		all["certificate "+name] = certificate(key, nil)
		all["pkcs8 "+name] = must(x509.MarshalPKCS8PrivateKey(key))
		all["pkix "+name] = must(x509.MarshalPKIXPublicKey(key.Public()))
		if key, ok := key.(*ecdsa.PrivateKey); ok {
			all["sec1 "+name] = must(x509.MarshalECPrivateKey(key))
		}
	}
	all["pkcs1 rsa"] = x509.MarshalPKCS1PrivateKey(rsaKey)
	all["pkcs1-public rsa"] = x509.MarshalPKCS1PublicKey(&rsaKey.PublicKey)
	all["request"] = must(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "made"}}, rsaKey))
	x25519 := must(ecdh.X25519().GenerateKey(rand.Reader))
	all["pkcs8 x25519"] = must(x509.MarshalPKCS8PrivateKey(x25519))
	all["pkix x25519"] = must(x509.MarshalPKIXPublicKey(x25519.PublicKey()))
	ca := must(x509.ParseCertificate(all["certificate p256"]))
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour)}
	ca.KeyUsage |= x509.KeyUsageCRLSign
	all["list"] = must(x509.CreateRevocationList(rand.Reader, list, ca, keys["p256"]))
	//nolint:staticcheck // what openssl of old writes
	old := must(x509.EncryptPEMBlock(rand.Reader, "EC PRIVATE KEY", all["sec1 p256"], []byte("pass"), x509.PEMCipherAES128))
	all["encrypted sec1"] = old.Bytes
	return all
}

func must2(_ ed25519.PublicKey, key ed25519.PrivateKey, err error) crypto.Signer {
	return must[crypto.Signer](key, err)
}
