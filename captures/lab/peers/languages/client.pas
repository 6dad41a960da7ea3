program client;
{ Free Pascal's TFPHTTPClient, which keeps its connection. }
{$mode objfpc}{$H+}
uses SysUtils, Classes, fphttpclient;
var
  It: TFPHTTPClient; N: Integer; Path: String;
begin
  It := TFPHTTPClient.Create(nil); It.KeepConnection := True; It.IOTimeout := 8000;
  for N := 1 to 5 do begin
    for Path in ['small', 'late', 'large'] do It.Get('http://10.9.0.2:8080/' + Path);
    It.RequestBody := TStringStream.Create(StringOfChar('u', 20000));
    It.Post('http://10.9.0.2:8080/upload');
    It.RequestBody.Free; It.RequestBody := nil;
    Sleep(300);
  end;
end.
