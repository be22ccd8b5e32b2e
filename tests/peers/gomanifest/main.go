// Gomanifest lets tests ask the code that kubeseal reads and prints manifests with, thousands of times
// in one process. It reads one JSON object a line from standard input and answers each with one line on
// standard output, in order.
//
// A request has "op" and the fields of that operation:
//
//	op       fields           answer
//	print    value            yaml, json   (any value, as the serializers print it)
//	secrets  text             objects      (every document of a stream that is not empty, as a Secret)
//	convert  text             value        (the first document of YAML as JSON, without a type)
//
// An answer has "ok"; if that is false, "error" says why. A text is a JSON string.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	streams "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

type request struct {
	Op    string          `json:"op"`
	Text  string          `json:"text"`
	Value json.RawMessage `json:"value"`
}

type answer struct {
	Ok      bool             `json:"ok"`
	Error   string           `json:"error,omitempty"`
	Yaml    *string          `json:"yaml,omitempty"`
	Json    *string          `json:"json,omitempty"`
	Objects []*corev1.Secret `json:"objects,omitempty"`
	Value   json.RawMessage  `json:"value,omitempty"`
}

func main() {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	for {
		line, err := in.ReadBytes('\n')
		if len(line) > 0 {
			if failure := encoder.Encode(handle(line)); failure != nil {
				panic(failure)
			}
			// The other side may wait for this answer before it asks again.
			if in.Buffered() == 0 {
				out.Flush()
			}
		}
		if err != nil {
			out.Flush()
			return
		}
	}
}

func handle(line []byte) (reply answer) {
	defer func() {
		if problem := recover(); problem != nil {
			reply = answer{Error: fmt.Sprint("panic: ", problem)}
		}
	}()
	var asked request
	err := json.Unmarshal(line, &asked)
	if err == nil {
		reply, err = perform(asked)
	}
	if err != nil {
		return answer{Error: err.Error()}
	}
	reply.Ok = true
	return reply
}

func perform(asked request) (answer, error) {
	switch asked.Op {
	case "print":
		return show(asked.Value)
	case "secrets":
		return secrets(asked.Text)
	case "convert":
		value, err := yaml.YAMLToJSON([]byte(asked.Text))
		return answer{Value: value}, err
	}
	return answer{}, errors.New("unknown op " + asked.Op)
}

// show prints what a serializer would have marshalled.
func show(value json.RawMessage) (answer, error) {
	var any interface{}
	decoder := json.NewDecoder(bytes.NewReader(value))
	decoder.UseNumber()
	if err := decoder.Decode(&any); err != nil {
		return answer{}, err
	}
	any = numbers(any)
	indented, err := json.MarshalIndent(any, "", "  ")
	if err != nil {
		return answer{}, err
	}
	compact, err := json.Marshal(any)
	if err != nil {
		return answer{}, err
	}
	asYaml, err := yaml.JSONToYAML(compact)
	if err != nil {
		return answer{}, err
	}
	texts := [2]string{string(asYaml), string(indented)}
	return answer{Yaml: &texts[0], Json: &texts[1]}, nil
}

// numbers makes floating point numbers of what is no integer, which the decoder kept as a text.
func numbers(value interface{}) interface{} {
	switch value := value.(type) {
	case map[string]interface{}:
		for name, field := range value {
			value[name] = numbers(field)
		}
	case []interface{}:
		for i, item := range value {
			value[i] = numbers(item)
		}
	case json.Number:
		if _, err := strconv.ParseInt(string(value), 10, 64); err == nil {
			return value
		}
		if _, err := strconv.ParseUint(string(value), 10, 64); err == nil {
			return value
		}
		if float, err := value.Float64(); err == nil {
			return float
		}
	}
	return value
}

// secrets reads a stream as kubeseal does, but tells of documents that it cannot read.
func secrets(text string) (answer, error) {
	decoder := streams.NewYAMLOrJSONDecoder(bytes.NewReader([]byte(text)), 4096)
	var reply answer
	for {
		secret := corev1.Secret{}
		err := decoder.Decode(&secret)
		if errors.Is(err, io.EOF) {
			return reply, nil
		}
		if err != nil {
			return answer{}, err
		}
		if !reflect.DeepEqual(secret, corev1.Secret{}) {
			reply.Objects = append(reply.Objects, &secret)
		}
	}
}
