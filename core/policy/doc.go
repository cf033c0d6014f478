// Package policy decides who may do what in a room: roles and their capabilities, preauthorisation, the constraints of
// the base policy, and every other component of mimi-room-policy-04, as plain data and pure functions.
//
// [Rules] is a room's whole policy. [Rules.Allowed] answers for one [Action] of one [Actor]; [Ledger] holds what the
// proposals of one commit may not do together; [Rules.CheckCensus] holds the numbers (minima, maxima, clients per user)
// that must be true afterwards; [Rules.Validate] holds what a policy must be to be a policy. Package room puts them
// together. [Default] and [DirectMessage] are the policies of the rooms we create.
//
// # Our private capability
//
// [OwnDomainOnly] (0xF001) narrows the role that lists it: whatever the role may do to other participants, it may do only
// to those of the holder's own provider. It is how the gateway participant (mimi://<domain>/u/gateway) gets the right to
// add, remove and change people of its own domain and nobody else. It narrows rather than grants, so that a provider or client
// that does not know the number still finds every commit of ours authorised by the ordinary capabilities beside it; the hub,
// which is the arbiter (mimi-protocol-06 §7.1), enforces the narrowing.
package policy
