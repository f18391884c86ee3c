// A bell: the browser notifies when a run ends while its page is hidden.  Off until it is switched on,
// and remembered by the browser for all pages of this server.

const BELL = "nbpar-bell";
const REFUSED = "The browser does not allow this page to notify you; its settings for this site can change that.";

/** Whether notifications exist here: not in every notebook's front end. */
function canNotify() {
  return typeof Notification === "function" && typeof Notification.requestPermission === "function";
}

/** Whether the bell is on, in every card of this browser. */
function isOn() {
  try {
    return canNotify() && Notification.permission === "granted" && localStorage.getItem(BELL) === "on";
  } catch {
    return false; // a page without storage
  }
}

/** Switch the bell on or off; returns why that is impossible, or "". */
async function switchBell(on) {
  try {
    if (on && Notification.permission !== "granted" && (await Notification.requestPermission()) !== "granted") return REFUSED;
    if (on) localStorage.setItem(BELL, "on");
    else localStorage.removeItem(BELL);
    return "";
  } catch {
    return REFUSED;
  }
}

/** Notify of an end, if nobody sees the page; views of one run notify once. */
function ring(title, text, tag) {
  if (!isOn() || !document.hidden) return;
  try {
    const note = new Notification(title, { body: text, tag });
    note.onclick = () => {
      window.focus();
      note.close();
    };
  } catch {
    // some systems notify from service workers only
  }
}
