package hub

import (
	"crypto/x509"
	"encoding/asn1"

	"mimigate/core/mls"
	"mimigate/core/policy"
)

// oidAltName is subjectAltName; the draft's source misprints it (reading P11).
var oidAltName = asn1.ObjectIdentifier{2, 5, 29, 17}

// claimsOf returns what a credential proves, for preauthorisation (mimi-room-policy-04 §4): the attributes of an X.509 certificate's
// subject and its alternative names, under their OIDs in DER; of a Basic credential its identity, under no name. Whether the credential
// is to be believed has been asked before.
func claimsOf(c *mls.Credential) []policy.Claim {
	switch {
	case c.Type == mls.CredentialBasic:
		return []policy.Claim{{CredentialType: uint16(c.Type), Value: string(c.Identity)}}
	case c.Type != mls.CredentialX509 || len(c.Certificates) == 0:
		return nil
	}
	cert, err := x509.ParseCertificate(c.Certificates[0])
	if err != nil {
		return nil
	}
	var list []policy.Claim
	add := func(oid asn1.ObjectIdentifier, value string) {
		if id, err := asn1.Marshal(oid); err == nil {
			list = append(list, policy.Claim{CredentialType: uint16(c.Type), ID: string(id), Value: value})
		}
	}
	for _, name := range cert.Subject.Names {
		if text, ok := name.Value.(string); ok {
			add(name.Type, text)
		}
	}
	for _, u := range cert.URIs {
		add(oidAltName, u.String())
	}
	for _, name := range cert.DNSNames {
		add(oidAltName, name)
	}
	return list
}
