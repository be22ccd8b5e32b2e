// Renders templates with Go's text/template and sprig, as the controller of Sealed Secrets does.
//
// Reads one request per line: {"name": TEXT, "context": {KEY: BASE64}, "template": TEXT}.
// Answers each with one line: {"output": BASE64}, or {"error": TEXT}.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"text/template"
	"time"

	"github.com/Masterminds/sprig/v3"
)

type request struct {
	Name     string            `json:"name"`
	Context  map[string][]byte `json:"context"`
	Template string            `json:"template"`
}

type answer struct {
	Output *[]byte `json:"output,omitempty"`
	Error  string  `json:"error,omitempty"`
}

func main() {
	time.Local = time.UTC
	functions := sprig.GenericFuncMap()
	for _, name := range []string{"env", "expandenv", "getHostByName"} {
		delete(functions, name)
	}
	lines := bufio.NewReader(os.Stdin)
	out := json.NewEncoder(os.Stdout)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var asked request
		if err := json.Unmarshal(line, &asked); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if err := out.Encode(render(&asked, functions)); err != nil {
			os.Exit(1)
		}
	}
}

func render(asked *request, functions template.FuncMap) (result answer) {
	// Some functions of the reference panic where nothing catches it.
	defer func() {
		if reason := recover(); reason != nil {
			result = answer{Error: fmt.Sprintf("panic: %v", reason)}
		}
	}()
	context := map[string]string{}
	for key, value := range asked.Context {
		context[key] = string(value)
	}
	parsed, err := template.New(asked.Name).Funcs(functions).Parse(asked.Template)
	if err != nil {
		return answer{Error: strings.ToValidUTF8(err.Error(), "\uFFFD")}
	}
	var out bytes.Buffer
	if err := parsed.Execute(&out, context); err != nil {
		return answer{Error: strings.ToValidUTF8(err.Error(), "\uFFFD")}
	}
	rendered := append([]byte{}, out.Bytes()...)
	return answer{Output: &rendered}
}
