// Verifies what a CA made, with crypto/x509: chain, name, usage, and revocation list.
// Reads JSON, writes "ok" or what is wrong.
package main

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"time"
)

type question struct {
	Leaf   string
	Chain  string
	Roots  string
	Name   string
	CRL    []byte
	Issuer string
	Now    time.Time
}

func one(text string) *x509.Certificate {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		fail(fmt.Errorf("no PEM: %q", text))
	}
	found, err := x509.ParseCertificate(block.Bytes)
	fail(err)
	return found
}

func fail(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(0)
	}
}

func main() {
	var asked question
	fail(json.NewDecoder(os.Stdin).Decode(&asked))
	roots, above := x509.NewCertPool(), x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(asked.Roots)) {
		fail(fmt.Errorf("no roots"))
	}
	above.AppendCertsFromPEM([]byte(asked.Chain))
	leaf := one(asked.Leaf)
	_, err := leaf.Verify(x509.VerifyOptions{
		DNSName:       asked.Name,
		CurrentTime:   asked.Now,
		Roots:         roots,
		Intermediates: above,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	fail(err)
	if asked.CRL != nil {
		list, err := x509.ParseRevocationList(asked.CRL)
		fail(err)
		fail(list.CheckSignatureFrom(one(asked.Issuer)))
		for _, entry := range list.RevokedCertificateEntries {
			if entry.SerialNumber.Cmp(leaf.SerialNumber) == 0 {
				fmt.Println("revoked", entry.ReasonCode)
				return
			}
		}
	}
	fmt.Println("ok")
}
