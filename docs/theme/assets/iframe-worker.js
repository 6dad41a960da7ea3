// The search runs in a worker, and a page that was opened as a file may start none. There it runs in a frame.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    #frame = document.createElement("iframe")
    #ready
    constructor(url) {
      super()
      this.#frame.hidden = true
      document.body.append(this.#frame)
      const inside = this.#frame.contentWindow
      inside.postMessage = data => this.dispatchEvent(new MessageEvent("message", { data }))
      const script = inside.document.createElement("script")
      this.#ready = new Promise(ready => script.addEventListener("load", ready))
      script.src = new URL(url, document.baseURI)
      inside.document.body.append(script)
    }
    postMessage(data) {
      const inside = this.#frame.contentWindow
      this.#ready.then(() => inside.dispatchEvent(new inside.MessageEvent("message", { data })))
    }
  }
}
