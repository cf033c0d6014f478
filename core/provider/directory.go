package provider

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// Endpoint is the name of an endpoint, as in a directory document and in the paths of ours.
type Endpoint string

// The endpoints of mimi-protocol-06 §5.1.
const (
	KeyMaterial     Endpoint = "keyMaterial"
	Update          Endpoint = "update"
	Notify          Endpoint = "notify"
	SubmitMessage   Endpoint = "submitMessage"
	GroupInfo       Endpoint = "groupInfo"
	RequestConsent  Endpoint = "requestConsent"
	UpdateConsent   Endpoint = "updateConsent"
	IdentifierQuery Endpoint = "identifierQuery"
	ReportAbuse     Endpoint = "reportAbuse"
	ProxyDownload   Endpoint = "proxyDownload"
)

// DirectoryPath is where a provider's directory document is (mimi-protocol-06 §5.1).
const DirectoryPath = "/.well-known/mimi-protocol-directory"

// directoryMax is the largest directory document that is read, in octets.
const directoryMax = 64 << 10

// ErrDirectory: a provider's directory document cannot be used, or lacks an endpoint.
var ErrDirectory = errors.New("provider: directory document")

// Directory is a provider's directory document: where each endpoint is, as a URL with one variable.
type Directory map[Endpoint]string

// variables are what we call those of our own directory (readings A1, A2).
var variables = map[Endpoint]string{
	KeyMaterial: "targetUser", Update: "roomId", Notify: "roomId", SubmitMessage: "roomId", GroupInfo: "roomId",
	RequestConsent: "targetDomain", UpdateConsent: "requesterDomain", IdentifierQuery: "domain", ReportAbuse: "roomId",
	ProxyDownload: "downloadUrl",
}

// NewDirectory returns the directory of a provider whose endpoints are all under one URL.
func NewDirectory(base string) Directory {
	d := make(Directory, len(variables))
	for e, v := range variables {
		d[e] = strings.TrimSuffix(base, "/") + "/" + string(e) + "/{" + v + "}"
	}
	return d
}

// ParseDirectory reads a directory document. Keys that we do not know do not count, and an endpoint that cannot be used is an error
// only once it is needed. The error wraps ErrDirectory.
func ParseDirectory(document []byte) (Directory, error) {
	var all map[string]any
	if err := json.Unmarshal(document, &all); err != nil {
		return nil, fmt.Errorf("%w: no JSON object", ErrDirectory)
	}
	d := make(Directory)
	for key, value := range all {
		if text, ok := value.(string); ok {
			d[Endpoint(key)] = text
		}
	}
	return d, nil
}

// URL returns where a request for an address goes: a MIMI URI, or the URL of a file. The variable is replaced whatever it is
// called and wherever it stands (reading A1); one that is called a domain by the address's domain (reading A2). It is expanded as RFC
// 6570 §3.2.2 has it. The error wraps ErrDirectory.
func (d Directory) URL(e Endpoint, address, domain string) (*url.URL, error) {
	template, ok := d[e]
	if !ok {
		return nil, fmt.Errorf("%w: no %s", ErrDirectory, e)
	}
	before, rest, open := strings.Cut(template, "{")
	name, after, closed := strings.Cut(rest, "}")
	if !open || !closed || strings.ContainsAny(after, "{}") {
		return nil, fmt.Errorf("%w: %s has not exactly one variable", ErrDirectory, e)
	}
	if strings.Contains(strings.ToLower(name), "domain") {
		address = domain
	}
	u, err := url.Parse(before + escape(address) + after)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
		return nil, fmt.Errorf("%w: %s is not an https URL", ErrDirectory, e)
	}
	return u, nil
}

// escape percent-encodes all but the unreserved characters.
func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// address reads what stands in a path after the name of an endpoint, still percent-encoded: an address that is percent-encoded as a
// whole, in part or not at all, or lacks its scheme (reading A3).
func address(path string) string {
	const scheme = "mimi://"
	switch {
	case strings.HasPrefix(path, scheme):
		return path
	case strings.Contains(path, "/"):
		return scheme + path
	}
	if text, err := url.PathUnescape(path); err == nil {
		path = text
	}
	if strings.Contains(path, "://") {
		return path
	}
	return scheme + path
}
