package router

import (
	"fmt"

	"mimigate/core/router/translate"
)

// phrase is a sentence that the gateway says to people, in English; package translate has it in other languages. Verbs are those of fmt.
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
	sayGap         phrase = "Messages from elsewhere may be missing here: they could not be read, and will not come."
)

// say is a phrase in the language of the configuration, or in English.
func (r *Router) say(p phrase, args ...any) string {
	return fmt.Sprintf(translate.Text(r.Language, string(p)), args...)
}
