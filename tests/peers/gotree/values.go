package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/getsops/sops/v3"
)

// A text is bytes that are a JSON string if they are UTF-8.
type text struct{ raw string }

type encodedText struct {
	Base64 []byte `json:"base64"`
}

func newText(raw []byte) *text { return &text{string(raw)} }

func (t *text) bytes() []byte {
	if t == nil {
		return nil
	}
	return []byte(t.raw)
}

func (t text) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(t.raw) {
		return json.Marshal(t.raw)
	}
	return json.Marshal(map[string]string{"base64": base64.StdEncoding.EncodeToString([]byte(t.raw))})
}

func (t *text) UnmarshalJSON(in []byte) error {
	if len(in) > 0 && in[0] == '"' {
		return json.Unmarshal(in, &t.raw)
	}
	var encoded encodedText
	err := json.Unmarshal(in, &encoded)
	t.raw = string(encoded.Base64)
	return err
}

// A value is anything that stands in a tree of sops.
type value struct{ tree any }

type node struct {
	Map     *[]entry `json:"map,omitempty"`
	List    *[]value `json:"list,omitempty"`
	Comment *text    `json:"comment,omitempty"`
	Inline  bool     `json:"inline,omitempty"`
	Str     *text    `json:"str,omitempty"`
	Int     *string  `json:"int,omitempty"`
	Uint    *string  `json:"uint,omitempty"`
	Float   *string  `json:"float,omitempty"`
	Bool    *bool    `json:"bool,omitempty"`
	Null    bool     `json:"null,omitempty"`
	Time    *string  `json:"time,omitempty"`
	Other   *string  `json:"other,omitempty"`
}

type entry struct {
	Key     *key   `json:"key,omitempty"`
	Value   *value `json:"value,omitempty"`
	Comment *text  `json:"comment,omitempty"`
	Inline  bool   `json:"inline,omitempty"`
}

type key struct{ tree any }

func (k key) MarshalJSON() ([]byte, error) {
	if name, ok := k.tree.(string); ok {
		return json.Marshal(text{name})
	}
	return json.Marshal(map[string]value{"other": {k.tree}})
}

func (k *key) UnmarshalJSON(in []byte) error {
	var name text
	err := json.Unmarshal(in, &name)
	k.tree = name.raw
	return err
}

func (v value) MarshalJSON() ([]byte, error) {
	plain := func(s string) *string { return &s }
	switch in := v.tree.(type) {
	case sops.TreeBranch:
		entries := make([]entry, len(in))
		for i, item := range in {
			if comment, ok := item.Key.(sops.Comment); ok {
				entries[i] = entry{Comment: &text{comment.Value}, Inline: comment.Inline}
			} else {
				entries[i] = entry{Key: &key{item.Key}, Value: &value{item.Value}}
			}
		}
		return json.Marshal(node{Map: &entries})
	case []any:
		items := make([]value, len(in))
		for i, item := range in {
			items[i] = value{item}
		}
		return json.Marshal(node{List: &items})
	case sops.Comment:
		return json.Marshal(node{Comment: &text{in.Value}, Inline: in.Inline})
	case string:
		return json.Marshal(node{Str: &text{in}})
	case []byte:
		return json.Marshal(node{Str: &text{string(in)}})
	case int:
		return json.Marshal(node{Int: plain(strconv.Itoa(in))})
	case uint64:
		return json.Marshal(node{Uint: plain(strconv.FormatUint(in, 10))})
	case float64:
		return json.Marshal(node{Float: plain(strconv.FormatFloat(in, 'g', -1, 64))})
	case bool:
		return json.Marshal(node{Bool: &in})
	case nil:
		return json.Marshal(node{Null: true})
	case time.Time:
		return json.Marshal(node{Time: plain(in.Format(time.RFC3339Nano))})
	default:
		return json.Marshal(node{Other: plain(fmt.Sprintf("%T", in))})
	}
}

func (v *value) UnmarshalJSON(in []byte) error {
	var read node
	err := json.Unmarshal(in, &read)
	if err != nil {
		return err
	}
	switch {
	case read.Map != nil:
		branch := make(sops.TreeBranch, len(*read.Map))
		for i, item := range *read.Map {
			if item.Comment != nil {
				branch[i].Key = sops.Comment{Value: item.Comment.raw, Inline: item.Inline}
			} else if item.Key != nil && item.Value != nil {
				branch[i] = sops.TreeItem{Key: item.Key.tree, Value: item.Value.tree}
			} else {
				return fmt.Errorf("an entry has neither key and value nor comment")
			}
		}
		v.tree = branch
	case read.List != nil:
		items := make([]any, len(*read.List))
		for i, item := range *read.List {
			items[i] = item.tree
		}
		v.tree = items
	case read.Comment != nil:
		v.tree = sops.Comment{Value: read.Comment.raw, Inline: read.Inline}
	case read.Str != nil:
		v.tree = read.Str.raw
	case read.Int != nil:
		v.tree, err = strconv.Atoi(*read.Int)
	case read.Float != nil:
		v.tree, err = strconv.ParseFloat(*read.Float, 64)
	case read.Bool != nil:
		v.tree = *read.Bool
	case read.Time != nil:
		v.tree, err = time.Parse(time.RFC3339Nano, *read.Time)
	case read.Null:
		v.tree = nil
	default:
		err = fmt.Errorf("a value has no known kind: %s", in)
	}
	return err
}

func toBranches(documents []value) sops.TreeBranches {
	var branches sops.TreeBranches
	for _, document := range documents {
		branches = append(branches, document.tree.(sops.TreeBranch))
	}
	return branches
}

func fromBranches(branches sops.TreeBranches) []value {
	documents := make([]value, len(branches))
	for i, branch := range branches {
		documents[i] = value{branch}
	}
	return documents
}
