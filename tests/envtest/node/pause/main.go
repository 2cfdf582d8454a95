// Command pause is the first process of a pod: it holds the pod's namespaces and waits to be told to end.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	// Where containers share its process namespace, it is their first process and collects those that lost their parent.
	ended := make(chan os.Signal, 8)
	signal.Notify(ended, syscall.SIGCHLD)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	for {
		select {
		case <-stop:
			return
		case <-ended:
			for {
				pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
				if err != nil || pid <= 0 {
					break
				}
			}
		}
	}
}
