// What the page does. It follows the glue code of wasm-bindgen in one script.
//
// Invariants: texts of others are put in as text, never as markup; values of files stay bytes; bytes with plaintext are
// overwritten once they were handed over; clearing puts in a main part that nobody ever typed into.
(() => {
  "use strict";

  const find = (id) => document.getElementById(id);
  const pristine = find("main").cloneNode(true);
  // The bytes of chosen files, by the text areas that they stand in for.
  let files = new Map();
  let rows = 0;

  start().catch(() => {
    find("state").textContent = "This browser cannot run the page: it needs WebAssembly and DecompressionStream.";
  });

  async function start() {
    await wasm_bindgen({ module_or_path: await code() });
    document.addEventListener("click", clicked);
    document.addEventListener("change", changed);
    document.addEventListener("input", typed);
    document.addEventListener("keydown", pressed);
    document.addEventListener("submit", submitted);
    for (const kind of ["dragover", "dragleave", "drop"]) document.addEventListener(kind, dragged);
    // What a browser keeps of pages that were left would keep the values.
    addEventListener("pagehide", clear);
    clear();
    find("state").textContent = "";
  }

  async function code() {
    const packed = Uint8Array.from(atob(find("code").textContent), (letter) => letter.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
    return new Response(stream).arrayBuffer();
  }

  // Forgets all that was typed, chosen and made.
  function clear() {
    for (const file of files.values()) file.bytes.fill(0);
    files = new Map();
    rows = 0;
    const main = pristine.cloneNode(true);
    main.hidden = false;
    find("main").replaceWith(main);
    addRow();
  }

  function clicked(event) {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.id === "clear") {
      clear();
      find("certificate").focus();
      find("state").textContent = "Everything is cleared.";
    } else if (button.id === "add") {
      addRow().querySelector(".key").focus();
    } else if (button.role === "tab") {
      choose(button);
    } else if (button.id === "text-remove") {
      forget(find("text"));
      preview();
      find("text").focus();
    } else if (button.classList.contains("remove")) {
      removeRow(button.closest(".row"));
    } else if (button.classList.contains("reveal")) {
      reveal(button, button.closest(".row").querySelector(".value"));
    } else if (button.dataset.reveal) {
      reveal(button, find(button.dataset.reveal));
    } else if (button.dataset.copy) {
      copy(button);
    } else if (button.dataset.download) {
      download(button);
    }
  }

  async function changed(event) {
    const field = event.target;
    if (field.type === "file") {
      const [file] = field.files;
      const into = field.dataset.into ? find(field.dataset.into) : field.closest(".row").querySelector(".value");
      if (file) await take(file, into);
      field.value = "";
    } else if (field.name === "mode") {
      find("main").dataset.mode = field.value;
      tell("seal", null);
    } else {
      typed(event);
    }
  }

  function typed(event) {
    const field = event.target;
    find("state").textContent = "";
    if (field.getAttribute("aria-invalid")) field.removeAttribute("aria-invalid");
    if (field.id === "certificate") describe();
    if (field.id === "file-name") {
      find("format").value = wasm_bindgen.format_of(field.value);
      preview();
    }
    if (field.id === "rule") find("rule-field").hidden = field.value === "";
    if (["text", "format", "rule", "rule-text"].includes(field.id)) preview();
  }

  function pressed(event) {
    if (event.target.role !== "tab") return;
    const tabs = [...document.querySelectorAll("[role=tab]")];
    const at = tabs.indexOf(event.target);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: -1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const tab = tabs.at(to % tabs.length);
    choose(tab);
    tab.focus();
  }

  function submitted(event) {
    event.preventDefault();
    if (event.target.id === "form-seal") seal();
    else encrypt();
  }

  async function dragged(event) {
    // A file that is dropped elsewhere would take the place of the page.
    event.preventDefault();
    const zone = event.target.closest?.("[data-drop]");
    zone?.classList.toggle("dropping", event.type === "dragover");
    if (event.type !== "drop" || !zone) return;
    const [file] = event.dataTransfer.files;
    if (file) await take(file, zone);
    else if (zone.readOnly) {
      tell(panelOf(zone), { message: "a file is in the place of the text", hint: "remove the file first", target: zone });
    } else {
      zone.value = event.dataTransfer.getData("text");
      zone.dispatchEvent(new Event("input", { bubbles: true }));
    }
  }

  function choose(tab) {
    for (const other of document.querySelectorAll("[role=tab]")) {
      const chosen = other === tab;
      other.setAttribute("aria-selected", String(chosen));
      other.tabIndex = chosen ? 0 : -1;
      find(other.getAttribute("aria-controls")).hidden = !chosen;
    }
  }

  function addRow() {
    rows += 1;
    const row = find("row").content.firstElementChild.cloneNode(true);
    const name = `Value ${rows}`;
    row.setAttribute("aria-label", name);
    for (const part of ["key", "value"]) {
      const field = row.querySelector(`.${part}`);
      field.id = `${part}-${rows}`;
      field.closest(".field").querySelector("label").htmlFor = field.id;
    }
    for (const heard of row.querySelectorAll(".only-heard")) heard.textContent = ` for value ${rows}`;
    find("rows").append(row);
    return row;
  }

  function removeRow(row) {
    forget(row.querySelector(".value"));
    const next = row.nextElementSibling ?? row.previousElementSibling;
    row.remove();
    (next?.querySelector(".key") ?? addRow().querySelector(".key")).focus();
  }

  function reveal(button, field) {
    const shown = field.classList.toggle("masked") === false;
    button.setAttribute("aria-pressed", String(shown));
  }

  // Takes a file: as text where that is what the field is for, else as bytes.
  async function take(file, field) {
    if (file.size > MAX_FILE) {
      tell(panelOf(field), { message: `${file.name} is longer than 16 MiB`, target: field });
      return;
    }
    const bytes = new Uint8Array(await file.arrayBuffer());
    // It may have been cleared in the meantime.
    if (!field.isConnected) {
      bytes.fill(0);
      return;
    }
    if (field.id === "certificate" || field.id === "recipients" || field.id === "manifest") {
      try {
        field.value = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
      } catch {
        tell(panelOf(field), { message: `${file.name} is no text in UTF-8`, target: field });
        return;
      } finally {
        bytes.fill(0);
      }
    } else {
      forget(field);
      field.value = "";
      files.set(field, { name: file.name, bytes });
      showFile(field, `${file.name}, ${bytes.length} bytes`);
      const key = field.closest(".row")?.querySelector(".key");
      if (key && !key.value) key.value = file.name;
      if (field.id === "text") {
        find("file-name").value = file.name;
        find("format").value = wasm_bindgen.format_of(file.name);
      }
    }
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }

  function showFile(field, text) {
    const place = field.id === "text" ? find("text-file") : field.parentElement.querySelector(".chosen");
    place.textContent = text;
    place.hidden = !text;
    if (field.id === "text") find("text-remove").hidden = !text;
    field.hidden = Boolean(text) && field.id !== "text";
    field.readOnly = Boolean(text);
  }

  function forget(field) {
    files.get(field)?.bytes.fill(0);
    if (files.delete(field)) showFile(field, "");
  }

  // Calls with bytes of the field, which are overwritten afterwards unless they are those of a file.
  function withBytes(field, call) {
    const file = files.get(field);
    const bytes = file ? file.bytes : new TextEncoder().encode(field.value);
    try {
      return call(bytes);
    } finally {
      if (!file) bytes.fill(0);
      wasm_bindgen.wipe_stack();
    }
  }

  function describe() {
    const facts = find("certificate-facts");
    const field = find("certificate");
    facts.replaceChildren();
    find("expired-choice").hidden = true;
    find("expired").checked = false;
    if (!field.value.trim()) return;
    let found;
    try {
      found = JSON.parse(withBytes(field, (bytes) => wasm_bindgen.describe_certificate(bytes, Date.now())));
    } catch (error) {
      facts.append(paragraph(sentence(problemOf(error)), "warning"));
      return;
    }
    const [standing, looks] = {
      expired: [`expired on ${found.notAfter}: the controller seals for a newer one by now`, "warning"],
      future: [`is not valid before ${found.notBefore}`, "warning"],
      soon: [`is valid until ${found.notAfter}, which is soon`, "warning"],
      valid: [`is valid until ${found.notAfter}`, "good"],
    }[found.standing];
    const list = document.createElement("dl");
    const entries = [
      ["Fingerprint", found.fingerprint],
      ["Key", `RSA, ${found.bits} bits`],
      ["Issuer", found.issuer || "does not say"],
      ["Valid from", found.notBefore],
    ];
    for (const [term, text] of entries) list.append(element("dt", term), element("dd", text));
    facts.append(list, paragraph(`This certificate ${standing}.`, looks));
    find("expired-choice").hidden = found.standing !== "expired";
  }

  function preview() {
    const place = find("preview");
    const field = find("text");
    if (!field.value && !files.has(field)) {
      place.replaceChildren(paragraph("Nothing to tell yet: there is no document."));
      return;
    }
    let found;
    try {
      const rule = [find("format").value, find("rule").value, find("rule-text").value];
      found = JSON.parse(withBytes(field, (bytes) => wasm_bindgen.preview(bytes, ...rule)));
    } catch (error) {
      place.replaceChildren(paragraph(sentence(problemOf(error)), "warning"));
      return;
    }
    const comments = found.comments ? ` and ${count(found.comments, "comment")}` : "";
    const clear = found.clear ? `These ${count(found.clear, "value")} stay in clear` : "No value stays in clear";
    place.replaceChildren(
      paragraph(`${count(found.encrypted, "value")}${comments} will be encrypted. ${clear}; keys always do.`),
    );
    const list = document.createElement("ul");
    for (const { line, path } of found.places) list.append(element("li", `line ${line}: ${path}`));
    const more = found.clear - found.places.length;
    if (more > 0) list.append(element("li", `and ${more} more`));
    if (found.clear) place.append(list);
  }

  function seal() {
    const expired = find("expired").checked;
    make("seal", "sealed", () =>
      withBytes(find("certificate"), (certificate) => {
        if (find("main").dataset.mode === "manifest") {
          const place = [find("manifest-namespace").value.trim(), find("manifest-scope").value];
          return withBytes(find("manifest"), (manifest) =>
            wasm_bindgen.seal_manifest(manifest, ...place, certificate, expired, Date.now()),
          );
        }
        const names = ["name", "namespace", "type"].map((id) => find(id).value.trim());
        const form = new wasm_bindgen.SecretForm(...names);
        try {
          for (const row of document.querySelectorAll(".row")) {
            const key = row.querySelector(".key").value.trim();
            const value = row.querySelector(".value");
            if (!key && !value.value && !files.has(value)) continue;
            withBytes(value, (bytes) => form.add(key, bytes));
          }
          return form.seal(certificate, expired, find("scope").value, Date.now());
        } finally {
          form.free();
        }
      }),
    );
  }

  function encrypt() {
    make("encrypt", "encrypted", () => {
      const format = find("format").value;
      const rest = [find("recipients").value, find("rule").value, find("rule-text").value, Date.now()];
      return withBytes(find("text"), (bytes) => wasm_bindgen.encrypt(bytes, format, ...rest));
    });
  }

  // Shows what a call makes, or why it does not.
  function make(panel, output, call) {
    const result = find(`${panel}-result`);
    result.hidden = true;
    find(output).value = "";
    tell(panel, null);
    let made;
    try {
      made = JSON.parse(call());
    } catch (error) {
      tell(panel, problemOf(error));
      return;
    }
    find(output).value = made.text;
    const notes = made.notes.map((text) => element("li", text));
    const warnings = made.warnings.map((text) => element("li", text, "warning"));
    result.querySelector(".notes").replaceChildren(...warnings, ...notes);
    result.querySelector("[role=status]").textContent = "";
    result.hidden = false;
    result.querySelector("h2").focus();
  }

  // Says what is wrong, and leads to where.
  function tell(panel, problem) {
    const place = find(`${panel}-problem`);
    for (const field of document.querySelectorAll("[aria-errormessage]")) {
      field.removeAttribute("aria-errormessage");
      field.removeAttribute("aria-invalid");
    }
    place.replaceChildren();
    if (!problem) return;
    place.append(paragraph(`${capital(problem.message)}.`));
    if (problem.hint) place.append(paragraph(`${capital(problem.hint)}.`, "hint"));
    const field = problem.target ?? fieldOf(problem.field);
    if (!field) return;
    field.setAttribute("aria-errormessage", place.id);
    if (field.matches("input, textarea, select")) field.setAttribute("aria-invalid", "true");
    field.focus();
    if (problem.line && field.localName === "textarea" && !files.has(field)) select(field, problem.line);
  }

  function fieldOf(name) {
    const inManifest = find("main").dataset.mode === "manifest";
    if (name === "values") return inManifest ? find("manifest") : find("rows").querySelector(".key");
    if (name === "name" && inManifest) return find("manifest");
    if (name === "rule" && find("rule").value) return find("rule-text");
    return (inManifest && find(`manifest-${name}`)) || (name ? find(name) : null);
  }

  function select(field, line) {
    const lines = field.value.split("\n");
    const start = lines.slice(0, line - 1).reduce((sum, text) => sum + text.length + 1, 0);
    field.setSelectionRange(start, start + (lines[line - 1] ?? "").length);
  }

  async function copy(button) {
    const output = find(button.dataset.copy);
    const said = button.parentElement.querySelector("[role=status]");
    try {
      await navigator.clipboard.writeText(output.value);
      said.textContent = "Copied.";
    } catch {
      output.focus();
      output.select();
      said.textContent = "The browser does not let the page copy: the text is marked, copy it with the keyboard.";
    }
  }

  function download(button) {
    const output = find(button.dataset.download);
    const link = document.createElement("a");
    const url = URL.createObjectURL(new Blob([output.value], { type: "application/octet-stream" }));
    link.href = url;
    link.download = button.dataset.download === "sealed" ? sealedName() : find("file-name").value || "secrets";
    link.click();
    // The browser may still be at it.
    setTimeout(() => URL.revokeObjectURL(url), 60000);
    button.parentElement.querySelector("[role=status]").textContent = `Saved as ${link.download}.`;
  }

  function sealedName() {
    const text = find("sealed").value;
    if (find("main").dataset.mode === "manifest") return text.trimStart().startsWith("{") ? "sealed.json" : "sealed.yaml";
    return `${find("name").value.trim()}-sealed.yaml`;
  }

  function problemOf(error) {
    try {
      return JSON.parse(error);
    } catch {
      // Not one that the library tells: whatever it is, it may cite what was typed.
      return { message: "the page failed; load it anew", hint: null, field: null };
    }
  }

  const panelOf = (field) => (field.closest("#panel-encrypt") ? "encrypt" : "seal");
  const sentence = ({ message, hint }) => `${capital(message)}.${hint ? ` ${capital(hint)}.` : ""}`;
  const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
  const count = (number, what) => `${number} ${what}${number === 1 ? "" : "s"}`;
  const paragraph = (text, looks) => element("p", text, looks);

  function element(name, text, looks) {
    const made = document.createElement(name);
    made.textContent = text;
    if (looks) made.className = looks;
    return made;
  }

  // Far more than a Secret can hold, and than a document of SOPS should.
  const MAX_FILE = 16 * 1024 * 1024;
})();
