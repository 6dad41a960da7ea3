// Mono's HttpListener: a small page, a late one, a large one, an upload, rows in chunks.
using System.IO; using System.Net; using System.Text; using System.Threading; using System.Threading.Tasks;
class Server {
  static async Task Answer(HttpListenerContext it) {
    var path = it.Request.Url.AbsolutePath; var answer = it.Response; answer.ContentType = "text/plain";
    byte[] body = Encoding.ASCII.GetBytes("small\n");
    if (path == "/late") { await Task.Delay(300); }
    if (path == "/large") body = new byte[300000];
    if (path == "/none") { answer.StatusCode = 204; answer.Close(); return; }
    if (path == "/upload") { var all = new MemoryStream(); await it.Request.InputStream.CopyToAsync(all); body = Encoding.ASCII.GetBytes(all.Length.ToString()); }
    if (path == "/rows") {
      answer.SendChunked = true;
      for (int n = 0; n < 8; n++) { var row = Encoding.ASCII.GetBytes("row " + n + "\n"); await answer.OutputStream.WriteAsync(row, 0, row.Length); await answer.OutputStream.FlushAsync(); await Task.Delay(200); }
      answer.Close(); return;
    }
    answer.ContentLength64 = body.Length;
    await answer.OutputStream.WriteAsync(body, 0, body.Length); answer.Close();
  }
  static void Main() {
    var listener = new HttpListener(); listener.Prefixes.Add("http://*:8080/"); listener.Start();
    while (true) { var it = listener.GetContext(); Task.Run(() => Answer(it)); }
  }
}
