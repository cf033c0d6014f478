// Package translate turns the sentences that the router says to people from English into their language. The English sentence is the
// key, and is what is said where a language or a sentence is missing.
package translate

import "strings"

// Text returns an English sentence, whose verbs are those of fmt, in a language (RFC 5646).
func Text(language, english string) string {
	base, _, _ := strings.Cut(strings.ToLower(language), "-")
	if base == "de" {
		if text, ok := german[english]; ok {
			return text
		}
	}
	return english
}

var german = map[string]string{
	"Account %s: %s. %s":             "Konto %s: %s. %s",
	"Do: %s":                         "Abhilfe: %s",
	"The chat %s cannot be used: %s": "Der Chat %s ist nicht nutzbar: %s",
	"I am a gateway between messengers, and take orders from its administrators only. Nothing was done.":                                 "Ich bin ein Gateway zwischen Messengern und nehme Anweisungen nur von dessen Verwaltern an. Es wurde nichts getan.",
	"The chat “%s” (%s/%s) belongs to no room. To bind it, write there: %s bind ROOM":                                                    "Der Chat „%s“ (%s/%s) gehört zu keinem Raum. Um ihn zu verbinden, dort schreiben: %s bind RAUM",
	"The edit by %s was not passed on: only the author may change a message.":                                                            "Die Änderung von %s wurde nicht weitergegeben: Nur wer eine Nachricht schrieb, darf sie ändern.",
	"The message of %s was not passed on: %s":                                                                                            "Die Nachricht von %s wurde nicht weitergegeben: %s",
	"%s could not be changed in the room: %s":                                                                                            "%s konnte im Raum nicht geändert werden: %s",
	"The message of %s was not delivered in “%s”: %s":                                                                                    "Die Nachricht von %s wurde in „%s“ nicht zugestellt: %s",
	"%s was removed from the room, but cannot be removed from this chat. They can still read it; what they write here is not passed on.": "%s wurde aus dem Raum entfernt, kann aber nicht aus diesem Chat entfernt werden. Mitlesen ist weiter möglich; was dort geschrieben wird, wird nicht weitergegeben.",
	"%s joined":      "%s ist beigetreten",
	"%s left":        "%s ist gegangen",
	"%s was removed": "%s wurde entfernt",
	"%[1]s status · %[1]s rooms · %[1]s bind ROOM [in|out] · %[1]s accept CODE · %[1]s unbind": "%[1]s status · %[1]s rooms · %[1]s bind RAUM [in|out] · %[1]s accept CODE · %[1]s unbind",
	"This chat now belongs to the room %s.":                                                    "Dieser Chat gehört jetzt zum Raum %s.",
	"For this chat to join the room %s, write in a chat that belongs to it: %s accept %s":      "Damit dieser Chat zum Raum %s gehört, in einem Chat dieses Raums schreiben: %s accept %s",
	"The chat %s now belongs to this room.":                                                    "Der Chat %s gehört jetzt zu diesem Raum.",
	"There is no such request for this room.":                                                  "Für diesen Raum gibt es keine solche Anfrage.",
	"This chat no longer belongs to a room.":                                                   "Dieser Chat gehört zu keinem Raum mehr.",
	"This chat belongs to no room.":                                                            "Dieser Chat gehört zu keinem Raum.",
	"That cannot be done: %s":                                                                  "Das geht nicht: %s",
	"What you write here is no longer passed on. To change that, write: %s optin":              "Was Sie hier schreiben, wird nicht mehr weitergegeben. Um das zu ändern, schreiben Sie: %s optin",
	"What you write here is passed on again.":                                                  "Was Sie hier schreiben, wird wieder weitergegeben.",
	"Nothing yet.":                      "Noch nichts.",
	"it could not be delivered in time": "sie konnte nicht rechtzeitig zugestellt werden",
	"Messages from elsewhere may be missing here: they could not be read, and will not come.": "Hier fehlen vielleicht Nachrichten von anderswo: Sie waren nicht lesbar und kommen nicht mehr.",
}
