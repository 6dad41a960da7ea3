// Mono's HttpClient and WebClient.
using System; using System.Net; using System.Net.Http; using System.Threading;
class Client {
  static void Main() {
    var url = "http://10.9.0.2:8080/";
    var client = new HttpClient(); client.Timeout = TimeSpan.FromSeconds(8);
    for (int n = 0; n < 5; n++) {
      foreach (var path in new[] { "small", "late", "large", "none", "rows" }) client.GetByteArrayAsync(url + path).Wait();
      client.PostAsync(url + "upload", new ByteArrayContent(new byte[20000])).Result.Content.ReadAsStringAsync().Wait();
      Thread.Sleep(300);
    }
    for (int n = 0; n < 5; n++) { using (var web = new WebClient()) { web.DownloadString(url + "small"); web.UploadString(url + "upload", "hello"); } Thread.Sleep(200); }
  }
}
