// The whole application. It has no token and needs none: the cookie says who asks, and it cannot read that
// either. Every request has the header that no other site can send.
const element = (id) => document.getElementById(id);

function ask(path, options = {}) {
  return fetch(path, { ...options, headers: { ...options.headers, "X-CSRF": "1" } });
}

// Calls the API. A session that has ended shows itself as 401 with the code `login_required`.
async function call(path, options) {
  const answer = await ask(`/api${path}`, options);
  const text = await answer.text();
  element("last").textContent = `${answer.status} ${text}`;
  if (answer.status === 401) {
    showPerson(null);
    return null;
  }
  if (!answer.ok) {
    throw new Error(`The API answered ${answer.status}.`);
  }
  return JSON.parse(text);
}

function showPerson(person) {
  element("who").textContent = person ? `Signed in as ${person.name ?? person.subject}` : "";
  element("sign-in").hidden = element("stranger").hidden = person !== null;
  element("sign-out").hidden = element("notes").hidden = person === null;
  element("cookies").textContent = document.cookie || "empty";
  element("storage").textContent =
    localStorage.length + sessionStorage.length === 0 ? "empty" : "something";
}

function showNotes(answer) {
  const items = (answer?.notes ?? []).map((note) => {
    const item = document.createElement("li");
    item.textContent = note; // text, never markup
    return item;
  });
  element("list").replaceChildren(...items);
}

async function attempt(action) {
  element("trouble").hidden = true;
  try {
    await action();
  } catch (error) {
    element("trouble").textContent = error.message;
    element("trouble").hidden = false;
  }
}

element("add").addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(async () => {
    showNotes(await call("/notes", { method: "POST", body: element("note").value }));
    element("note").value = "";
  });
});

// A page that comes back from the back button may be an old one.
addEventListener("pageshow", () =>
  attempt(async () => {
    const answer = await ask("/auth/session");
    showPerson(answer.ok ? await answer.json() : null);
    if (answer.ok) {
      showNotes(await call("/notes"));
    }
  }),
);
