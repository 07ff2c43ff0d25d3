/* What Dash does not do: a title for each page, a word when the connection or the session is lost, focus after a change
   of page. No data passes through here. */
(function () {
  "use strict";
  var plain = window.fetch.bind(window);
  var lost = false;

  function say(words) {
    var place = document.getElementById("connection");
    if (place && place.textContent !== words) { place.textContent = words; }
  }

  window.fetch = function (resource, options) {
    return plain(resource, options).then(function (answer) {
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
      if (!lost) { say("▲ No connection to the dashboard since " + new Date().toLocaleTimeString() + ". What is shown is old."); }
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

  function dialogs() {
    var reason = document.getElementById("d-reason");
    if (reason && !before) {
      before = document.activeElement || document.body;
      reason.focus();
    } else if (!reason && before) {
      if (before.isConnected) { before.focus(); }
      before = null;
    }
  }

  /* A part that is renewed is mounted anew: what was unfolded and what had the focus comes back, and nothing is
     renewed while text is selected. */
  var unfolded = new Set(), focused = null, paused = false;

  function nameOf(details) {
    var named = details.closest("[id]");
    var among = Array.from((named || document).querySelectorAll("details"));
    return (named ? named.id : "") + "|" + among.indexOf(details);
  }

  document.addEventListener("toggle", function (event) {
    if (event.target.tagName !== "DETAILS" || !event.target.isConnected) { return; }
    if (event.target.open) { unfolded.add(nameOf(event.target)); } else { unfolded.delete(nameOf(event.target)); }
  }, true);

  document.addEventListener("focusin", function (event) { focused = event.target; });

  document.addEventListener("selectionchange", function () {
    var selection = window.getSelection();
    var inside = !selection.isCollapsed && document.getElementById("page").contains(selection.anchorNode);
    if (inside === paused) { return; }
    paused = inside;
    ["overview", "endpoints", "standby", "alerts"].forEach(function (name) {
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
    if (focused && !focused.isConnected && focused.id && document.activeElement === document.body) {
      var again = document.getElementById(focused.id);
      if (again) { again.focus({ preventScroll: true }); }
    }
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
    plainRadios();
    var heading = document.querySelector("#page h1");
    if (!heading) { return; }
    var title = heading.textContent + " · Understudy";
    if (document.title !== title) { document.title = title; }
    if (path !== null && path !== window.location.pathname) {
      window.scrollTo(0, 0);
      document.getElementById("page").focus({ preventScroll: true });
    }
    if (path !== window.location.pathname) { unfolded.clear(); }
    path = window.location.pathname;
  }).observe(document.documentElement, { childList: true, subtree: true, characterData: true });
})();
