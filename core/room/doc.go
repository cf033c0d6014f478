// Package room is the state machine of a room: who takes part with which role and which clients, what the room is called,
// which policy it has, and what an update does to all that.
//
// All of it lives in the app_data_dictionary of the MLS group's GroupContext. [Contents] is the dictionary decoded;
// [Components] tells the MLS engine what an AppDataUpdate does to a component's bytes. [State] is a room between two
// updates: [New] builds it from dictionary and leaves, [State.Apply] takes an [Update] (a bundle of proposals, or a commit) and returns
// the next State, or an error of package policy that names the rule and its section. A State never changes.
//
// # Committed and effective
//
// A proposal that the hub has accepted counts at once, although no commit has taken it yet (mimi-protocol-06 §7.1). A
// State therefore knows the committed room, which is the GroupContext of the epoch, and the effective one, which has all
// pending proposals applied. Who may do what is judged by the effective room; the indices in a participant-list update mean
// the committed list; what proposals must not do together covers all of an epoch's, since a commit takes them all.
package room
