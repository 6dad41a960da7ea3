// As threaded_pools.py, with .NET's HttpClient (SocketsHttpHandler): client_pool.exe BASE CONNECTIONS SECONDS AIM SPREAD BUSY
using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Globalization;
using System.Linq;
using System.Net.Http;
using System.Threading.Tasks;

static class ClientPool {
    const double Step = 0.001;
    static readonly Random Chance = new Random();
    static readonly Stopwatch Clock = Stopwatch.StartNew();
    static string url;
    static double seconds, aim, spread;
    static int answered, lost;

    static async Task<string> Get(HttpClient client, string path) {
        using (var response = await client.GetAsync(url + path)) {
            await response.Content.ReadAsByteArrayAsync();
            IEnumerable<string> ports;
            return response.Headers.TryGetValues("X-Port", out ports) ? ports.First() : "";
        }
    }

    static async Task AskAgain() {
        var client = new HttpClient();
        var port = "";
        while (Clock.Elapsed.TotalSeconds < seconds) {
            double rest;
            try {
                var now = await Get(client, "/bytes/20");
                lock (Chance) {
                    answered++;
                    if (port != "") aim += now == port ? Step : -Step;
                    rest = aim + spread * (2 * Chance.NextDouble() - 1);
                }
                port = now;
            } catch (HttpRequestException) {
                lock (Chance) {
                    lost++;
                    aim -= Step;
                }
                continue;
            }
            await Task.Delay(TimeSpan.FromSeconds(Math.Max(0, rest)));
        }
    }

    static async Task KeepBusy(int milliseconds) {
        var client = new HttpClient();
        while (milliseconds > 0 && Clock.Elapsed.TotalSeconds < seconds) {
            try {
                await Get(client, "/work/" + milliseconds);
            } catch (HttpRequestException) {
                continue;
            }
            await Task.Delay(10 + (int)(90 * Chance.NextDouble()));
        }
    }

    static void Main(string[] words) {
        url = words[0];
        var numbers = words.Skip(1).Select(word => double.Parse(word, CultureInfo.InvariantCulture)).ToArray();
        seconds = numbers[1];
        aim = numbers[2];
        spread = numbers[3];
        var all = Enumerable.Range(0, (int)numbers[0]).Select(_ => AskAgain()).ToList();
        all.Add(KeepBusy((int)numbers[4]));
        Task.WaitAll(all.ToArray());
        var said = "{{\"answered\": {0}, \"lost\": {1}, \"aim\": {2:F6}}}";
        Console.WriteLine(string.Format(CultureInfo.InvariantCulture, said, answered, lost, aim));
    }
}
