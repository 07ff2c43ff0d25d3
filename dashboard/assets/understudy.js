/* What Dash does not do: a title for each page, a word when the connection or the session is lost, focus after a change
   of page. No data passes through here. */
(function () {
  "use strict";
  var plain = window.fetch.bind(window);
  var lost = false;

  /* Every time is in the clinic's zone and names it, whatever the browser's own is. */
  function clock(at, day) {
    var how = { timeZone: document.documentElement.dataset.zone, hour12: false, timeZoneName: "short",
      hour: "2-digit", minute: "2-digit", second: "2-digit" };
    if (day) { how.weekday = "short"; how.day = "numeric"; how.month = "short"; how.year = "numeric"; }
    return new Intl.DateTimeFormat("en-GB", how).format(at);
  }

  var printer = null;
  window.addEventListener("beforeprint", function () {
    var place = document.getElementById("printed");
    if (!place) { return; }
    printer = printer || place.textContent;
    place.textContent = printer + ", " + clock(new Date(), true) + " · " + window.location.href;
  });

  /* An open page whose session has ended shows nothing more. Asking is no use of the session. */
  window.setInterval(function () {
    if (document.getElementById("page")) { window.fetch("/session").catch(function () {}); }
  }, 30000);

  /* Enter in a field presses the button that belongs to it; a word that lies over the page can be closed. */
  document.addEventListener("keydown", function (event) {
    var field = event.target;
    if (event.key !== "Enter" || event.isComposing || field.tagName !== "INPUT" || !field.closest("#page, .dialog")) { return; }
    if (field.type === "radio" || field.type === "checkbox") { return; }
    var form = field.closest(".dialog, form, section");
    if (!form || form.getAttribute("action")) { return; }
    event.preventDefault();
    var beside = field.closest(".field") && field.closest(".field").nextElementSibling;
    var chosen = beside && beside.tagName === "BUTTON" ? beside
      : Array.from(form.querySelectorAll("button.primary, #d-confirm")).find(function (button) {
        return button.offsetParent && (field.compareDocumentPosition(button) & Node.DOCUMENT_POSITION_FOLLOWING);
      });
    if (chosen) { chosen.click(); }
  });

  document.addEventListener("click", function (event) {
    if (event.target.closest && event.target.closest("button.close")) {
      window.dash_clientside.set_props("said", { children: "" });
    }
  });

  function say(words) {
    var place = document.getElementById("connection");
    if (place && place.textContent !== words) { place.textContent = words; }
  }

  /* A press of a button that does something, or shows something else, is written down where no renewal reaches: Dash
     forgets that of a button which is mounted anew before its answer is there. `number` rises, so that the same press
     again is another. */
  var STORES = { "do": "asked", "now": "pressed", "show": "sent" };
  var number = 0, held = null, lifted = null;

  function buttonOf(element) {
    var button = element && element.closest && element.closest("button[id^='{']");
    return button && !button.disabled ? button : null;
  }

  function press(id) {
    var said = JSON.parse(id);
    Object.keys(STORES).forEach(function (kind) {
      if (!said[kind]) { return; }
      number += 1;
      window.dash_clientside.set_props(STORES[kind], { data: { kind: said[kind], what: said.what, number: number } });
    });
  }

  document.addEventListener("click", function (event) {
    var ends = event.target.closest && event.target.closest("#d-confirm, #d-cancel");
    if (ends && ends.id === "d-cancel") {
      window.dash_clientside.set_props("pending", { data: null });
      window.dash_clientside.set_props("dialog", { children: "" });
    } else if (ends) {
      number += 1;
      ends.disabled = true;  // until its answer is there: what is pressed twice is done once
      window.dash_clientside.set_props("confirmed", { data: number });
    }
    var button = buttonOf(event.target);
    if (!button) { return; }
    var again = lifted && lifted.id === button.id && event.timeStamp - lifted.at < 300;
    lifted = null;
    if (!again) { press(button.id); }
  });

  /* No click comes of a button that was mounted anew, or moved away, while it was held down: what counts is where the
     pointer went down and up, not what the page did meanwhile. */
  document.addEventListener("pointerdown", function (event) {
    var button = event.isPrimary && event.button === 0 ? buttonOf(event.target) : null;
    held = button && { button: button, place: button.getBoundingClientRect() };
  });
  document.addEventListener("pointercancel", function () { held = null; });
  document.addEventListener("pointerup", function (event) {
    var before = held;
    held = null;
    if (!before || (before.button.isConnected && before.button.contains(event.target))) { return; }
    var place = before.place, now = buttonOf(document.getElementById(before.button.id));
    var within = event.clientX >= place.left && event.clientX <= place.right && event.clientY >= place.top
      && event.clientY <= place.bottom;
    if (!now || !within) { return; }
    lifted = { id: now.id, at: event.timeStamp };
    press(now.id);
  });

  function answered(options) {
    var button = document.getElementById("d-confirm");
    if (button && options && String(options.body).indexOf('"confirmed.data"') >= 0) { button.disabled = false; }
  }

  window.fetch = function (resource, options) {
    return plain(resource, options).then(function (answer) {
      answered(options);
      if (answer.status === 401) {
        window.location.assign("/login?next=" + encodeURIComponent(window.location.pathname + window.location.search));
      } else if (answer.status >= 500) {
        lost = true;
        say("▲ The dashboard had an error. What is shown may be old.");
      } else if (answer.status === 403) {
        say("▲ That was refused. Load the page again.");
      } else if (lost) {
        lost = false;
        say("");
      }
      return answer;
    }, function (error) {
      answered(options);
      if (!lost) { say("▲ No connection to the dashboard since " + clock(new Date()) + ". What is shown is old."); }
      lost = true;
      throw error;
    });
  };

  /* A dialog holds the focus, gives it back, and closes with Escape. */
  var before = null;
  document.addEventListener("keydown", function (event) {
    var dialog = document.querySelector(".dialog");
    if (!dialog) { return; }
    if (event.key === "Escape") { document.getElementById("d-cancel").click(); return; }
    if (event.key !== "Tab") { return; }
    var all = dialog.querySelectorAll("button, input:not([type=hidden])");
    var first = all[0], last = all[all.length - 1];
    if (event.shiftKey && document.activeElement === first) { last.focus(); event.preventDefault(); }
    if (!event.shiftKey && document.activeElement === last) { first.focus(); event.preventDefault(); }
  });

  /* A dialog that becomes another one, such as what came of it, is still open: the focus goes on in it. */
  var open = "";
  function dialogs() {
    var now = document.getElementById("d-confirm") ? "asks" : document.querySelector(".dialog") ? "tells" : "";
    if (now === open) { return; }
    open = now;
    if (now) {
      before = before || document.activeElement || document.body;
      (document.getElementById("d-reason") || document.getElementById("d-cancel")).focus();
    } else if (before) {
      if (before.isConnected) { before.focus(); }
      before = null;
    }
  }

  /* A part that is renewed is mounted anew: what was unfolded and what had the focus comes back, and nothing is
     renewed while text is selected. */
  var unfolded = new Set(), focused = null, place = null, paused = false;

  function nameOf(details) {
    var named = details.closest("[id]");
    var among = Array.from((named || document).querySelectorAll("details"));
    return (named ? named.id : "") + "|" + among.indexOf(details);
  }

  document.addEventListener("toggle", function (event) {
    if (event.target.tagName !== "DETAILS" || !event.target.isConnected) { return; }
    if (event.target.open) { unfolded.add(nameOf(event.target)); } else { unfolded.delete(nameOf(event.target)); }
  }, true);

  /* Where it is, for what has no name of its own: the so many-th of its kind within the nearest thing that has one. */
  function placeOf(element) {
    if (element.id) { return { id: element.id }; }
    var named = element.parentElement && element.parentElement.closest("[id]");
    var all = named ? Array.from(named.querySelectorAll(element.tagName)) : [];
    return { id: named ? named.id : "", tag: element.tagName, number: all.indexOf(element) };
  }

  document.addEventListener("focusin", function (event) {
    focused = event.target;
    place = placeOf(event.target);
  });

  document.addEventListener("selectionchange", function () {
    var selection = window.getSelection();
    var inside = !selection.isCollapsed && document.getElementById("page").contains(selection.anchorNode);
    if (inside === paused) { return; }
    paused = inside;
    ["overview", "endpoints", "standby", "replacement", "alerts"].forEach(function (name) {
      try { window.dash_clientside.set_props({ tick: name }, { disabled: paused }); } catch (absent) { /* not this page */ }
    });
    say(paused ? "Not renewed while text is selected." : "");
  });

  function putBack() {
    if (unfolded.size) {
      document.querySelectorAll("#page details:not([open])").forEach(function (details) {
        if (unfolded.has(nameOf(details))) { details.open = true; }
      });
    }
    if (focused && place && !focused.isConnected && place.id && document.activeElement === document.body) {
      var again = document.getElementById(place.id);
      if (again && place.tag) { again = again.querySelectorAll(place.tag)[place.number]; }
      if (again) { again.focus({ preventScroll: true }); }
    }
  }

  /* What somebody types or chooses while the page before the next one is still there is theirs: it stands in the next one's field
     too, with the caret where it was. What was sent is the page's again, and so is what another page holds. */
  var typed = new Map();

  function forget() { typed.clear(); }

  /* A text field, or the group of a radio button. */
  function fieldOf(element) {
    var kinds = "#page input[id]:not([type=radio]):not([type=hidden]), #page textarea[id], #page .choice[id]";
    return element.closest && element.closest(kinds);
  }

  document.addEventListener("input", function (event) {
    var field = fieldOf(event.target);
    if (field) { typed.set(field.id, { element: field, value: event.target.value }); }
  });
  document.addEventListener("selectionchange", function () {
    var kept = document.activeElement && typed.get(document.activeElement.id);
    if (kept && kept.element === document.activeElement) { kept.caret = kept.element.selectionEnd; }
  });
  document.addEventListener("click", function (event) {
    var pressed = event.target.closest && event.target.closest("#page button, #page a.chip");
    if (!pressed) { return; }
    var within = pressed.closest("form, section");
    Array.from(typed.keys()).forEach(function (id) {
      var field = document.getElementById(id);
      if (pressed.matches("a") || (within && field && within.contains(field))) { typed.delete(id); }
    });
  }, true);
  window.addEventListener("popstate", forget);

  function putTypedBack() {
    typed.forEach(function (kept, id) {
      var field = document.getElementById(id);
      if (!field || field === kept.element) { return; }
      var caret = kept.caret;
      kept.element = field;
      window.dash_clientside.set_props(id.charAt(0) === "{" ? JSON.parse(id) : id, { value: kept.value });
      window.setTimeout(function () {
        if (document.activeElement === field && caret !== undefined && field.type !== "number") {
          try { field.setSelectionRange(caret, caret); } catch (none) { /* a field without a caret */ }
        }
      }, 0);
    });
  }

  /* Dash calls its radio buttons a list box with options; they are native radio buttons in a named group. */
  function plainRadios() {
    document.querySelectorAll(".choice[role=listbox]").forEach(function (group) {
      group.setAttribute("role", "presentation");
      group.querySelectorAll("[role=option]").forEach(function (option) {
        option.removeAttribute("role");
        option.removeAttribute("aria-selected");
      });
    });
  }

  var path = null;
  new MutationObserver(function () {
    dialogs();
    putBack();
    putTypedBack();
    plainRadios();
    var heading = document.querySelector("#page h1");
    if (!heading) { return; }
    var title = heading.textContent + " · Understudy";
    if (document.title !== title) { document.title = title; }
    if (path !== null && path !== window.location.pathname) {
      window.scrollTo(0, 0);
      document.getElementById("page").focus({ preventScroll: true });
    }
    if (path !== window.location.pathname) { unfolded.clear(); forget(); }
    path = window.location.pathname;
  }).observe(document.documentElement, { childList: true, subtree: true, characterData: true });
})();
