<?php
// As threaded_pools.py, with Guzzle: guzzle_pool.php BASE CONNECTIONS SECONDS AIM SPREAD BUSY. One process for each connection,
// which follows the limit by itself.
require "/usr/share/php/GuzzleHttp/autoload.php";

use GuzzleHttp\Client;
use GuzzleHttp\Exception\TransferException;

const STEP = 0.001;
$base = $argv[1];
[$connections, $seconds, $aim, $spread, $busy] = array_map("floatval", array_slice($argv, 2));
$deadline = microtime(true) + $seconds;

function chance(): float
{
    return mt_rand() / mt_getrandmax();
}

function ask_again(string $base, float $deadline, float $aim, float $spread): array
{
    [$client, $port, $answered, $lost] = [new Client(["timeout" => 5]), null, 0, 0];
    while (microtime(true) < $deadline) {
        try {
            $now = $client->get("$base/bytes/20")->getHeaderLine("X-Port");
        } catch (TransferException $e) {
            $lost++;
            $aim -= STEP;
            continue;
        }
        $answered++;
        $aim += $port === null ? 0 : ($now === $port ? STEP : -STEP);
        $port = $now;
        usleep((int) (1e6 * max(0, $aim + $spread * (2 * chance() - 1))));
    }
    return ["answered" => $answered, "lost" => $lost, "aim" => $aim];
}

function keep_busy(string $base, float $deadline, int $milliseconds): void
{
    $client = new Client(["timeout" => 5]);
    while (microtime(true) < $deadline) {
        try {
            $client->get("$base/work/$milliseconds");
        } catch (TransferException $e) {
            continue;
        }
        usleep((int) (1e4 + 9e4 * chance()));
    }
}

$children = [];
for ($n = 0; $n < $connections + ($busy ? 1 : 0); $n++) {
    [$here, $there] = stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_STREAM, 0);
    if (pcntl_fork() === 0) {
        mt_srand(getmypid());
        $said = $n < $connections ? ask_again($base, $deadline, $aim, $spread) : keep_busy($base, $deadline, (int) $busy);
        fwrite($there, json_encode($said));
        exit(0);
    }
    fclose($there);
    $children[] = $here;
}
$counts = ["answered" => 0, "lost" => 0, "aim" => $aim];
foreach ($children as $child) {
    $said = json_decode(stream_get_contents($child), true) ?? [];
    $counts = [
        "answered" => $counts["answered"] + ($said["answered"] ?? 0),
        "lost" => $counts["lost"] + ($said["lost"] ?? 0),
        "aim" => $said["aim"] ?? $counts["aim"],
    ];
}
while (pcntl_wait($status) > 0);
echo json_encode($counts), "\n";
