// Gotree lets tests ask the stores, the cipher and the tree walk of sops itself, thousands of
// documents in one process. It reads one JSON object a line from standard input and answers each with
// one line on standard output, in order.
//
// A request has "op" and the fields of that operation:
//
//	op         fields                                   answer
//	load       format text                              documents
//	emit       format documents [indent]                text
//	emit-value format value [indent]                    text
//	set        documents path value                     documents, changed (first document, as `sops set`)
//	unset      documents path                           documents          (first document, as `sops unset`)
//	encrypt    format (text | documents) key rules      text, documents (encrypted, without metadata)
//	           [output] [indent] [lastmodified] [version]
//	decrypt    format text key [output] [indent]        text, documents (plain), rules
//	           [ignore_mac]
//	edit       format text key documents [indent]       text: decrypts, puts these plain documents in place
//	           [lastmodified]                           of the old ones, encrypts again with one cipher
//
// "format" and "output" are yaml, json, dotenv, ini or binary ("output" is "format" unless given).
// "key" is the data key, 64 hex digits; nothing is unwrapped, and the metadata names one made-up age
// recipient. "rules" is an object of unencrypted_suffix, encrypted_suffix, unencrypted_regex,
// encrypted_regex, unencrypted_comment_regex, encrypted_comment_regex (texts) and mac_only_encrypted.
// As in the sops command, no rule at all means unencrypted_suffix "_unencrypted". "lastmodified" is RFC
// 3339, by default the time now. "path" is a list of texts and whole numbers.
//
// An answer has "ok"; if that is false, "error" says why, "stage" is load, emit, encrypt, decrypt, mac
// or request, and "panic" is true if sops would have crashed.
//
// A text is a JSON string, or {"base64": "…"} if its bytes are not UTF-8. "documents" is a list of
// maps. A value is an object with one of these fields:
//
//	{"map": [{"key": TEXT, "value": VALUE} | {"comment": TEXT, "inline": BOOL}, …]}
//	{"list": [VALUE, …]}
//	{"comment": TEXT, "inline": BOOL}            in a list
//	{"str": TEXT}  {"int": "-5"}  {"float": "1e+06"}  {"bool": true}  {"null": true}
//	{"time": "2001-12-14T21:59:43.1-05:00"}      RFC 3339, up to nanoseconds
//	{"uint": "18446744073709551615"}             only in answers: sops cannot walk it
//	{"other": "GO TYPE"}                         only in answers
//
// A key that is not a string is {"other": VALUE} in the place of TEXT.
package main

import (
	"bufio"
	"encoding/json"
	"os"

	"github.com/getsops/sops/v3/logging"
	"github.com/sirupsen/logrus"
)

func main() {
	logging.SetLevel(logrus.PanicLevel)
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	for {
		line, err := in.ReadBytes('\n')
		if len(line) > 0 {
			if failure := encoder.Encode(answer(line)); failure != nil {
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
