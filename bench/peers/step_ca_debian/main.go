// step-ca as Debian packages it, which is the library alone.
//
//	apt-get install golang-1.19-go golang-github-smallstep-certificates-dev
//	GOPATH=/usr/share/gocode GO111MODULE=off go build -o step-ca-0.19 main.go
package main

import (
	"errors"
	"log"
	"net/http"
	"os"

	"github.com/smallstep/certificates/authority/config"
	"github.com/smallstep/certificates/ca"
)

func main() {
	settings, err := config.LoadConfiguration(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	server, err := ca.New(settings)
	if err != nil {
		log.Fatal(err)
	}
	go ca.StopReloaderHandler(server)
	if err := server.Run(); err != nil && !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
}
