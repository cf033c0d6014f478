// Package mls is an engine for Messaging Layer Security (RFC 9420) and the parts of
// draft-ietf-mls-extensions-10 that MIMI needs. One [Group] is the shared state of every local leaf of a
// group; [PublicGroup] follows a group without any secret. The package does no I/O: time, randomness,
// credential checks, pre-shared keys and component logic come from [Config].
package mls
