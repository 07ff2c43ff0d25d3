/* Elements that no callback names (dashboard/still.py): Dash has one component of all of them. Text is only ever text. */
(function () {
  "use strict";

  /* As Dash's own link does, each of which would listen to all that happens on the page. */
  function follow(event) {
    var link = event.currentTarget;
    if (event.metaKey || event.shiftKey || event.altKey || event.ctrlKey || event.button !== 0) { return; }
    event.preventDefault();
    window.history.pushState({}, "", link.href);
    window.dispatchEvent(new CustomEvent("_dashprivate_pushstate"));
    window.scrollTo(0, 0);
  }

  /* As Dash writes an id that is a pattern's. */
  function idOf(id) {
    if (typeof id !== "object") { return id; }
    return "{" + Object.keys(id).sort().map(function (key) {
      return JSON.stringify(key) + ":" + JSON.stringify(id[key]);
    }).join(",") + "}";
  }

  function element(part) {
    if (part === null || typeof part !== "object") { return part; }
    var given = Object.assign({}, part.props), children = given.children;
    delete given.children;
    if (given.id) { given.id = idOf(given.id); }
    if (given.href) { given.href = window.dash_clientside.clean_url(given.href); }
    if (part.namespace === "dash_core_components") { given.onClick = follow; }
    var name = part.type === "Link" ? "a" : part.type.toLowerCase();
    return window.React.createElement.apply(null, [name, given].concat([].concat(children).map(element)));
  }

  /* What changes is mounted anew, as with Dash's own: nothing of the old part is taken for something else. */
  function Still(props) {
    var last = window.React.useRef({ parts: null, number: 0 }), now = last.current;
    if (now.parts !== props.parts) { now = last.current = { parts: props.parts, number: now.number + 1 }; }
    var made = [window.React.Fragment, { key: now.number }].concat(props.parts.map(element));
    return window.React.createElement.apply(null, made);
  }

  window.understudy = { Still: Still };
})();
