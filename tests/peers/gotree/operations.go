package main

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/aes"
	"github.com/getsops/sops/v3/age"
	"github.com/getsops/sops/v3/config"
	"github.com/getsops/sops/v3/stores/dotenv"
	"github.com/getsops/sops/v3/stores/ini"
	storejson "github.com/getsops/sops/v3/stores/json"
	"github.com/getsops/sops/v3/stores/yaml"
)

type request struct {
	Op           string  `json:"op"`
	Format       string  `json:"format"`
	Output       string  `json:"output"`
	Indent       *int    `json:"indent"`
	Text         *text   `json:"text"`
	Documents    []value `json:"documents"`
	Value        *value  `json:"value"`
	Path         []any   `json:"path"`
	Key          string  `json:"key"`
	Rules        rules   `json:"rules"`
	IgnoreMac    bool    `json:"ignore_mac"`
	LastModified string  `json:"lastmodified"`
	Version      string  `json:"version"`
}

type rules struct {
	UnencryptedSuffix       string `json:"unencrypted_suffix,omitempty"`
	EncryptedSuffix         string `json:"encrypted_suffix,omitempty"`
	UnencryptedRegex        string `json:"unencrypted_regex,omitempty"`
	EncryptedRegex          string `json:"encrypted_regex,omitempty"`
	UnencryptedCommentRegex string `json:"unencrypted_comment_regex,omitempty"`
	EncryptedCommentRegex   string `json:"encrypted_comment_regex,omitempty"`
	MacOnlyEncrypted        bool   `json:"mac_only_encrypted,omitempty"`
}

type reply struct {
	Ok        bool    `json:"ok"`
	Error     string  `json:"error,omitempty"`
	Stage     string  `json:"stage,omitempty"`
	Panic     bool    `json:"panic,omitempty"`
	Text      *text   `json:"text,omitempty"`
	Documents []value `json:"documents,omitempty"`
	Changed   *bool   `json:"changed,omitempty"`
	Rules     *rules  `json:"rules,omitempty"`
}

// A job is a request on its way; stage names what is being done, for the answer to a failure.
type job struct {
	request
	stage string
}

func answer(line []byte) (result reply) {
	work := job{stage: "request"}
	defer func() {
		if problem := recover(); problem != nil {
			result = reply{Error: fmt.Sprint(problem), Stage: work.stage, Panic: true}
		}
	}()
	if err := json.Unmarshal(line, &work.request); err != nil {
		return reply{Error: err.Error(), Stage: work.stage}
	}
	run, known := operations[work.Op]
	if !known {
		return reply{Error: "unknown operation " + work.Op, Stage: work.stage}
	}
	result, err := run(&work)
	if err != nil {
		return reply{Error: err.Error(), Stage: work.stage}
	}
	result.Ok = true
	return result
}

var operations = map[string]func(*job) (reply, error){
	"load":       load,
	"emit":       emit,
	"emit-value": emitValue,
	"set":        set,
	"unset":      unset,
	"encrypt":    encrypt,
	"decrypt":    decrypt,
	"edit":       edit,
}

func load(work *job) (reply, error) {
	branches, err := work.plain()
	if err != nil {
		return reply{}, err
	}
	return reply{Documents: fromBranches(branches)}, nil
}

func emit(work *job) (reply, error) {
	store, err := work.store(work.Format)
	if err != nil {
		return reply{}, err
	}
	work.stage = "emit"
	out, err := store.EmitPlainFile(toBranches(work.Documents))
	return reply{Text: newText(out)}, err
}

func emitValue(work *job) (reply, error) {
	store, err := work.store(work.Format)
	if err != nil {
		return reply{}, err
	}
	if work.Value == nil {
		return reply{}, errors.New("no value")
	}
	work.stage = "emit"
	out, err := store.EmitValue(work.Value.tree)
	return reply{Text: newText(out)}, err
}

func set(work *job) (reply, error) {
	if work.Value == nil || len(work.Documents) == 0 {
		return reply{}, errors.New("no value or no documents")
	}
	work.stage = "set"
	branches := toBranches(work.Documents)
	branch, changed := branches[0].Set(path(work.Path), work.Value.tree)
	branches[0] = branch
	return reply{Documents: fromBranches(branches), Changed: &changed}, nil
}

func unset(work *job) (reply, error) {
	if len(work.Documents) == 0 {
		return reply{}, errors.New("no documents")
	}
	work.stage = "set"
	branches := toBranches(work.Documents)
	branch, err := branches[0].Unset(path(work.Path))
	if err != nil {
		return reply{}, err
	}
	branches[0] = branch
	return reply{Documents: fromBranches(branches)}, nil
}

func encrypt(work *job) (reply, error) {
	key, err := hex.DecodeString(work.Key)
	if err != nil {
		return reply{}, err
	}
	branches := toBranches(work.Documents)
	if work.Text != nil {
		if branches, err = work.plain(); err != nil {
			return reply{}, err
		}
	}
	tree := sops.Tree{Branches: branches, Metadata: work.metadata()}
	return work.seal(&tree, key, aes.NewCipher())
}

func decrypt(work *job) (reply, error) {
	key, err := hex.DecodeString(work.Key)
	if err != nil {
		return reply{}, err
	}
	tree, err := work.open(key, aes.NewCipher())
	if err != nil {
		return reply{}, err
	}
	store, err := work.store(work.outputFormat())
	if err != nil {
		return reply{}, err
	}
	work.stage = "emit"
	out, err := store.EmitPlainFile(tree.Branches)
	if err != nil {
		return reply{}, err
	}
	found := rulesOf(tree.Metadata)
	return reply{Text: newText(out), Documents: fromBranches(tree.Branches), Rules: &found}, nil
}

func edit(work *job) (reply, error) {
	key, err := hex.DecodeString(work.Key)
	if err != nil {
		return reply{}, err
	}
	cipher := aes.NewCipher()
	tree, err := work.open(key, cipher)
	if err != nil {
		return reply{}, err
	}
	tree.Branches = toBranches(work.Documents)
	return work.seal(&tree, key, cipher)
}

func (work *job) open(key []byte, cipher aes.Cipher) (sops.Tree, error) {
	store, err := work.store(work.Format)
	if err != nil {
		return sops.Tree{}, err
	}
	work.stage = "load"
	tree, err := store.LoadEncryptedFile(work.Text.bytes())
	if err != nil {
		return tree, err
	}
	work.stage = "decrypt"
	computed, err := tree.Decrypt(key, cipher)
	if err != nil {
		return tree, err
	}
	work.stage = "mac"
	stored, err := cipher.Decrypt(tree.Metadata.MessageAuthenticationCode, key, tree.Metadata.LastModified.Format(time.RFC3339))
	if work.IgnoreMac {
		return tree, nil
	}
	if err == nil && stored != computed {
		err = fmt.Errorf("MAC mismatch: stored %v, computed %v", stored, computed)
	}
	return tree, err
}

func (work *job) seal(tree *sops.Tree, key []byte, cipher aes.Cipher) (reply, error) {
	store, err := work.store(work.outputFormat())
	if err != nil {
		return reply{}, err
	}
	for _, branch := range tree.Branches {
		if store.HasSopsTopLevelKey(branch) {
			return reply{}, errors.New("there is an entry with the name of the metadata")
		}
	}
	work.stage = "encrypt"
	mac, err := tree.Encrypt(key, cipher)
	if err != nil {
		return reply{}, err
	}
	tree.Metadata.LastModified = time.Now().UTC()
	if work.LastModified != "" {
		if tree.Metadata.LastModified, err = time.Parse(time.RFC3339, work.LastModified); err != nil {
			return reply{}, err
		}
	}
	tree.Metadata.MessageAuthenticationCode, err = cipher.Encrypt(mac, key, tree.Metadata.LastModified.Format(time.RFC3339))
	if err != nil {
		return reply{}, err
	}
	// Emitting may add the metadata to the branches, so they are taken down before.
	documents := fromBranches(tree.Branches)
	work.stage = "emit"
	out, err := store.EmitEncryptedFile(*tree)
	return reply{Text: newText(out), Documents: documents}, err
}

func (work *job) plain() (sops.TreeBranches, error) {
	store, err := work.store(work.Format)
	if err != nil {
		return nil, err
	}
	work.stage = "load"
	return store.LoadPlainFile(work.Text.bytes())
}

func (work *job) outputFormat() string {
	if work.Output != "" {
		return work.Output
	}
	return work.Format
}

func (work *job) store(format string) (sops.Store, error) {
	indent := func(otherwise int) int {
		if work.Indent != nil {
			return *work.Indent
		}
		return otherwise
	}
	switch format {
	case "yaml":
		return yaml.NewStore(&config.YAMLStoreConfig{Indent: indent(0)}), nil
	case "json":
		return storejson.NewStore(&config.JSONStoreConfig{Indent: indent(-1)}), nil
	case "binary":
		return storejson.NewBinaryStore(&config.JSONBinaryStoreConfig{Indent: indent(-1)}), nil
	case "dotenv":
		return dotenv.NewStore(&config.DotenvStoreConfig{}), nil
	case "ini":
		return ini.NewStore(&config.INIStoreConfig{}), nil
	}
	return nil, errors.New("unknown format " + format)
}

func (work *job) metadata() sops.Metadata {
	chosen := work.Rules
	if (rules{MacOnlyEncrypted: chosen.MacOnlyEncrypted}) == chosen {
		chosen.UnencryptedSuffix = sops.DefaultUnencryptedSuffix
	}
	version := work.Version
	if version == "" {
		version = "3.13.3"
	}
	key := &age.MasterKey{
		Recipient:    "age1lzd99uklcjnc0e7d860axevet2cz99ce9pq6tzuzd05l5nr28ams36nvun",
		EncryptedKey: "-----BEGIN AGE ENCRYPTED FILE-----\nbm90aGluZyBpcyB3cmFwcGVkIGhlcmU=\n-----END AGE ENCRYPTED FILE-----\n",
	}
	return sops.Metadata{
		KeyGroups:               []sops.KeyGroup{{key}},
		UnencryptedSuffix:       chosen.UnencryptedSuffix,
		EncryptedSuffix:         chosen.EncryptedSuffix,
		UnencryptedRegex:        chosen.UnencryptedRegex,
		EncryptedRegex:          chosen.EncryptedRegex,
		UnencryptedCommentRegex: chosen.UnencryptedCommentRegex,
		EncryptedCommentRegex:   chosen.EncryptedCommentRegex,
		MACOnlyEncrypted:        chosen.MacOnlyEncrypted,
		Version:                 version,
	}
}

func rulesOf(metadata sops.Metadata) rules {
	return rules{
		UnencryptedSuffix:       metadata.UnencryptedSuffix,
		EncryptedSuffix:         metadata.EncryptedSuffix,
		UnencryptedRegex:        metadata.UnencryptedRegex,
		EncryptedRegex:          metadata.EncryptedRegex,
		UnencryptedCommentRegex: metadata.UnencryptedCommentRegex,
		EncryptedCommentRegex:   metadata.EncryptedCommentRegex,
		MacOnlyEncrypted:        metadata.MACOnlyEncrypted,
	}
}

func path(steps []any) []any {
	for i, step := range steps {
		if number, ok := step.(float64); ok {
			steps[i] = int(number)
		}
	}
	return steps
}
