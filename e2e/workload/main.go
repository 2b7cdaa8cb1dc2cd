// What Pods run in the tests on a real node: an image without a shell has to bring every command that a test needs.
package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

const usage = `workload pause             does nothing until it is told to end; the sandbox of every Pod, too
workload serve ADDRESS     answers every request with the name of its Pod
workload exit CODE         ends with this code
workload echo WORD...      prints the words
workload get URL           prints what is there
workload token FILE TIMES  waits until the file has had so many contents, then ends`

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "workload:", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) == 0 {
		arguments = []string{"pause"}
	}
	name, rest := arguments[0], arguments[1:]
	switch {
	case name == "pause":
		pause()
		return nil
	case name == "serve" && len(rest) == 1:
		return serve(rest[0])
	case name == "exit" && len(rest) == 1:
		code, err := strconv.Atoi(rest[0])
		if err != nil {
			return err
		}
		os.Exit(code)
	case name == "echo":
		for _, word := range rest {
			fmt.Println(word)
		}
		return nil
	case name == "get" && len(rest) == 1:
		return get(rest[0])
	case name == "token" && len(rest) == 2:
		return token(rest[0], rest[1])
	}
	return fmt.Errorf("unknown command %q\n%s", arguments, usage)
}

// pause waits for a signal. As the first process of a Pod it also takes in orphans.
func pause() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	for s := range signals {
		if s != syscall.SIGCHLD {
			return
		}
		for {
			pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
			if pid <= 0 || err != nil {
				break
			}
		}
	}
}

func serve(address string) error {
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, name) })
	return http.ListenAndServe(address, nil)
}

func get(url string) error {
	client := http.Client{Timeout: 5 * time.Second}
	answer, err := client.Get(url)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, err = bytes.NewBuffer(nil).ReadFrom(answer.Body)
	fmt.Println(answer.Status)
	return err
}

func token(path, times string) error {
	wanted, err := strconv.Atoi(times)
	if err != nil {
		return err
	}
	var last []byte
	for seen := 0; seen < wanted; time.Sleep(time.Second) {
		now, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !bytes.Equal(now, last) {
			last, seen = now, seen+1
			fmt.Println("token", seen)
		}
	}
	return nil
}
