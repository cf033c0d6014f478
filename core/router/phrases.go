package router

import (
	"fmt"
	"strings"
)

// phrase is a sentence that the gateway says to people, in English; the tables below translate it. Verbs are those of fmt.
type phrase string

const (
	sayAccount     phrase = "Account %s: %s. %s"
	sayDo          phrase = "Do: %s"
	sayCannotOpen  phrase = "The chat %s cannot be used: %s"
	sayDeclined    phrase = "I am a gateway between messengers, and take orders from its administrators only. Nothing was done."
	sayUnbound     phrase = "The chat “%s” (%s/%s) belongs to no room. To bind it, write there: %s bind ROOM"
	sayEdit        phrase = "The edit by %s was not passed on: only the author may change a message."
	sayRefused     phrase = "The message of %s was not passed on: %s"
	sayUnchanged   phrase = "%s could not be changed in the room: %s"
	sayUndelivered phrase = "The message of %s was not delivered in “%s”: %s"
	sayStillThere  phrase = "%s was removed from the room, but cannot be removed from this chat. They can still read it; what they write here is not passed on."
	sayJoined      phrase = "%s joined"
	sayLeft        phrase = "%s left"
	sayRemoved     phrase = "%s was removed"
	sayHelp        phrase = "%[1]s status · %[1]s rooms · %[1]s bind ROOM [in|out] · %[1]s accept CODE · %[1]s unbind"
	sayBound       phrase = "This chat now belongs to the room %s."
	sayNeedsRoom   phrase = "For this chat to join the room %s, write in a chat that belongs to it: %s accept %s"
	sayAccepted    phrase = "The chat %s now belongs to this room."
	sayNoCode      phrase = "There is no such request for this room."
	sayUnboundNow  phrase = "This chat no longer belongs to a room."
	sayNotBound    phrase = "This chat belongs to no room."
	sayCannot      phrase = "That cannot be done: %s"
	sayOptedOut    phrase = "What you write here is no longer passed on. To change that, write: %s optin"
	sayOptedIn     phrase = "What you write here is passed on again."
	sayNothing     phrase = "Nothing yet."
	sayExpired     phrase = "it could not be delivered in time"
)

var german = map[phrase]string{
	sayAccount:     "Konto %s: %s. %s",
	sayDo:          "Abhilfe: %s",
	sayCannotOpen:  "Der Chat %s ist nicht nutzbar: %s",
	sayDeclined:    "Ich bin ein Gateway zwischen Messengern und nehme Anweisungen nur von dessen Verwaltern an. Es wurde nichts getan.",
	sayUnbound:     "Der Chat „%s“ (%s/%s) gehört zu keinem Raum. Um ihn zu verbinden, dort schreiben: %s bind RAUM",
	sayEdit:        "Die Änderung von %s wurde nicht weitergegeben: Nur wer eine Nachricht schrieb, darf sie ändern.",
	sayRefused:     "Die Nachricht von %s wurde nicht weitergegeben: %s",
	sayUnchanged:   "%s konnte im Raum nicht geändert werden: %s",
	sayUndelivered: "Die Nachricht von %s wurde in „%s“ nicht zugestellt: %s",
	sayStillThere:  "%s wurde aus dem Raum entfernt, kann aber nicht aus diesem Chat entfernt werden. Mitlesen ist weiter möglich; was dort geschrieben wird, wird nicht weitergegeben.",
	sayJoined:      "%s ist beigetreten",
	sayLeft:        "%s ist gegangen",
	sayRemoved:     "%s wurde entfernt",
	sayHelp:        "%[1]s status · %[1]s rooms · %[1]s bind RAUM [in|out] · %[1]s accept CODE · %[1]s unbind",
	sayBound:       "Dieser Chat gehört jetzt zum Raum %s.",
	sayNeedsRoom:   "Damit dieser Chat zum Raum %s gehört, in einem Chat dieses Raums schreiben: %s accept %s",
	sayAccepted:    "Der Chat %s gehört jetzt zu diesem Raum.",
	sayNoCode:      "Für diesen Raum gibt es keine solche Anfrage.",
	sayUnboundNow:  "Dieser Chat gehört zu keinem Raum mehr.",
	sayNotBound:    "Dieser Chat gehört zu keinem Raum.",
	sayCannot:      "Das geht nicht: %s",
	sayOptedOut:    "Was Sie hier schreiben, wird nicht mehr weitergegeben. Um das zu ändern, schreiben Sie: %s optin",
	sayOptedIn:     "Was Sie hier schreiben, wird wieder weitergegeben.",
	sayNothing:     "Noch nichts.",
	sayExpired:     "sie konnte nicht rechtzeitig zugestellt werden",
}

// say is a phrase in the language of the configuration, or in English.
func (r *Router) say(p phrase, args ...any) string {
	text := string(p)
	if base, _, _ := strings.Cut(strings.ToLower(r.Language), "-"); base == "de" {
		if t, ok := german[p]; ok {
			text = t
		}
	}
	return fmt.Sprintf(text, args...)
}
