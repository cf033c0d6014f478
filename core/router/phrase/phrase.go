// Package phrase has the sentences that the router says to people, in English and in their language.
package phrase

import (
	"fmt"
	"strings"
)

// Phrase is a sentence in English; its verbs are those of fmt.
type Phrase string

// The sentences.
const (
	Account     Phrase = "Account %s: %s. %s"
	Do          Phrase = "Do: %s"
	CannotOpen  Phrase = "The chat %s cannot be used: %s"
	Declined    Phrase = "I am a gateway between messengers, and take orders from its administrators only. Nothing was done."
	Unbound     Phrase = "The chat “%s” (%s/%s) belongs to no room. To bind it, write there: %s bind ROOM"
	Edit        Phrase = "The edit by %s was not passed on: only the author may change a message."
	Refused     Phrase = "The message of %s was not passed on: %s"
	Unchanged   Phrase = "%s could not be changed in the room: %s"
	Undelivered Phrase = "The message of %s was not delivered in “%s”: %s"
	StillThere  Phrase = "%s was removed from the room, but cannot be removed from this chat. They can still read it; what they write here is not passed on."
	Joined      Phrase = "%s joined"
	Left        Phrase = "%s left"
	Removed     Phrase = "%s was removed"
	Help        Phrase = "%[1]s status · %[1]s rooms · %[1]s bind ROOM [in|out] · %[1]s accept CODE · %[1]s refuse CODE · %[1]s unbind · %[1]s create NAME · %[1]s people · %[1]s find NAME@DOMAIN · %[1]s invite ADDRESS [ROLE] · %[1]s role ADDRESS ROLE · %[1]s kick ADDRESS · %[1]s ban ADDRESS · %[1]s unban ADDRESS · %[1]s leave"
	Bound       Phrase = "This chat now belongs to the room %s."
	NeedsRoom   Phrase = "For this chat to join the room %s, write in a chat that belongs to it: %s accept %s"
	Accepted    Phrase = "The chat %s now belongs to this room."
	NoCode      Phrase = "There is no such request for this room."
	UnboundNow  Phrase = "This chat no longer belongs to a room."
	NotBound    Phrase = "This chat belongs to no room."
	Cannot      Phrase = "That cannot be done: %s"
	OptedOut    Phrase = "What you write here is no longer passed on. To change that, write: %s optin"
	OptedIn     Phrase = "What you write here is passed on again."
	Nothing     Phrase = "Nothing yet."
	Expired     Phrase = "it could not be delivered in time"
	Gap         Phrase = "Messages from elsewhere may be missing here: they could not be read, and will not come."
	NoAddress   Phrase = "“%s” is no address."
	NoPeer      Phrase = "There is no connection to %s."
	NoRole      Phrase = "There is no role “%s”, only: %s."
	NotThere    Phrase = "%s is not in the room in that way."
	Invited     Phrase = "%s is being brought in. If they have to agree first, they are asked."
	Ordered     Phrase = "It is being done."
	OurRoom     Phrase = "the room is of this gateway; unbind its chats instead."
	LeftRoom    Phrase = "The people of this gateway leave the room, and its chats belong to no room."
	NobodyFound Phrase = "Nobody was found."
	AnyRoom     Phrase = "any room"
	AskedIn     Phrase = "%[1]s: %[2]s asks whether they may bring you into %[3]s. To answer, write: %[4]s accept %[5]s or %[4]s refuse %[5]s"
	YouAgreed   Phrase = "You agreed."
	YouRefused  Phrase = "You refused."
	Agrees      Phrase = "%s has agreed, and is being brought into the room %s."
	Declines    Phrase = "%s does not want to be brought into the room %s."
)

// Say returns a sentence in a language (RFC 5646), or in English where that or the sentence is missing.
func Say(language string, p Phrase, args ...any) string {
	text := string(p)
	if base, _, _ := strings.Cut(strings.ToLower(language), "-"); base == "de" {
		if translated, ok := german[p]; ok {
			text = translated
		}
	}
	return fmt.Sprintf(text, args...)
}

var german = map[Phrase]string{
	Account:     "Konto %s: %s. %s",
	Do:          "Abhilfe: %s",
	CannotOpen:  "Der Chat %s ist nicht nutzbar: %s",
	Declined:    "Ich bin ein Gateway zwischen Messengern und nehme Anweisungen nur von dessen Verwaltern an. Es wurde nichts getan.",
	Unbound:     "Der Chat „%s“ (%s/%s) gehört zu keinem Raum. Um ihn zu verbinden, dort schreiben: %s bind RAUM",
	Edit:        "Die Änderung von %s wurde nicht weitergegeben: Nur wer eine Nachricht schrieb, darf sie ändern.",
	Refused:     "Die Nachricht von %s wurde nicht weitergegeben: %s",
	Unchanged:   "%s konnte im Raum nicht geändert werden: %s",
	Undelivered: "Die Nachricht von %s wurde in „%s“ nicht zugestellt: %s",
	StillThere:  "%s wurde aus dem Raum entfernt, kann aber nicht aus diesem Chat entfernt werden. Mitlesen ist weiter möglich; was dort geschrieben wird, wird nicht weitergegeben.",
	Joined:      "%s ist beigetreten",
	Left:        "%s ist gegangen",
	Removed:     "%s wurde entfernt",
	Help:        "%[1]s status · %[1]s rooms · %[1]s bind RAUM [in|out] · %[1]s accept CODE · %[1]s refuse CODE · %[1]s unbind · %[1]s create NAME · %[1]s people · %[1]s find NAME@DOMAIN · %[1]s invite ADRESSE [ROLLE] · %[1]s role ADRESSE ROLLE · %[1]s kick ADRESSE · %[1]s ban ADRESSE · %[1]s unban ADRESSE · %[1]s leave",
	Bound:       "Dieser Chat gehört jetzt zum Raum %s.",
	NeedsRoom:   "Damit dieser Chat zum Raum %s gehört, in einem Chat dieses Raums schreiben: %s accept %s",
	Accepted:    "Der Chat %s gehört jetzt zu diesem Raum.",
	NoCode:      "Für diesen Raum gibt es keine solche Anfrage.",
	UnboundNow:  "Dieser Chat gehört zu keinem Raum mehr.",
	NotBound:    "Dieser Chat gehört zu keinem Raum.",
	Cannot:      "Das geht nicht: %s",
	OptedOut:    "Was Sie hier schreiben, wird nicht mehr weitergegeben. Um das zu ändern, schreiben Sie: %s optin",
	OptedIn:     "Was Sie hier schreiben, wird wieder weitergegeben.",
	Nothing:     "Noch nichts.",
	Expired:     "sie konnte nicht rechtzeitig zugestellt werden",
	Gap:         "Hier fehlen vielleicht Nachrichten von anderswo: Sie waren nicht lesbar und kommen nicht mehr.",
	NoAddress:   "„%s“ ist keine Adresse.",
	NoPeer:      "Zu %s besteht keine Verbindung.",
	NoRole:      "Es gibt keine Rolle „%s“, nur: %s.",
	NotThere:    "%s ist nicht so im Raum.",
	Invited:     "%s wird in den Raum geholt. Ist ihr Einverständnis nötig, werden sie gefragt.",
	Ordered:     "Es wird erledigt.",
	OurRoom:     "der Raum gehört zu diesem Gateway; stattdessen können seine Chats getrennt werden.",
	LeftRoom:    "Die Leute dieses Gateways verlassen den Raum, und seine Chats gehören zu keinem Raum mehr.",
	NobodyFound: "Niemand wurde gefunden.",
	AnyRoom:     "jeden Raum",
	AskedIn:     "%[1]s: %[2]s fragt, ob Sie in %[3]s geholt werden dürfen. Zum Antworten schreiben: %[4]s accept %[5]s oder %[4]s refuse %[5]s",
	YouAgreed:   "Sie haben zugestimmt.",
	YouRefused:  "Sie haben abgelehnt.",
	Agrees:      "%s hat zugestimmt und wird in den Raum %s geholt.",
	Declines:    "%s möchte nicht in den Raum %s geholt werden.",
}
