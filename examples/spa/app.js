// The whole application. It has no token: the session cookie authenticates its requests, and scripts cannot
// read the cookie. Every request has the header that other sites cannot send (CSRF protection).
const element = (id) => document.getElementById(id);

function send(path, options = {}) {
  return fetch(path, { ...options, headers: { ...options.headers, "X-CSRF": "1" } });
}

// Calls the API. If the session has ended, the response is 401 with the code `login_required`.
async function call(path, options) {
  const response = await send(`/api${path}`, options);
  const text = await response.text();
  element("last").textContent = `${response.status} ${text}`;
  if (response.status === 401) {
    showUser(null);
    return null;
  }
  if (!response.ok) {
    throw new Error(`The API responded with status ${response.status}.`);
  }
  return JSON.parse(text);
}

function showUser(user) {
  element("who").textContent = user ? `Signed in as ${user.name ?? user.subject}` : "";
  element("sign-in").hidden = element("stranger").hidden = user !== null;
  element("sign-out").hidden = element("notes").hidden = user === null;
  element("cookies").textContent = document.cookie || "empty";
  element("storage").textContent =
    localStorage.length + sessionStorage.length === 0 ? "empty" : "not empty";
}

function showNotes(response) {
  const items = (response?.notes ?? []).map((note) => {
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

// A page restored by the back button may be outdated.
addEventListener("pageshow", () =>
  attempt(async () => {
    const response = await send("/auth/session");
    showUser(response.ok ? await response.json() : null);
    if (response.ok) {
      showNotes(await call("/notes"));
    }
  }),
);
