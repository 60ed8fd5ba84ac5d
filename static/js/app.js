// Behaviour by data attribute; docs/interface.md lists the attributes.
import "./messages.js";
import "./copy.js";
import "./dialogs.js";
import "./forms.js";
import "./live.js";
import "./preferences.js";
