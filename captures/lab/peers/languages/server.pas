program server;
{ Free Pascal's fphttpserver: a small page, a late one, a large one, an upload. }
{$mode objfpc}{$H+}
uses {$ifdef unix}cthreads,{$endif} SysUtils, Classes, fphttpserver, httpdefs;
type
  TPages = class
    procedure Answer(Sender: TObject; var ARequest: TFPHTTPConnectionRequest; var AResponse: TFPHTTPConnectionResponse);
  end;
procedure TPages.Answer(Sender: TObject; var ARequest: TFPHTTPConnectionRequest; var AResponse: TFPHTTPConnectionResponse);
begin
  AResponse.Content := 'small' + #10;
  if ARequest.URI = '/late' then Sleep(300);
  if ARequest.URI = '/large' then AResponse.Content := StringOfChar('x', 300000);
  if ARequest.URI = '/upload' then AResponse.Content := IntToStr(Length(ARequest.Content));
end;
var
  It: TFPHttpServer; Pages: TPages;
begin
  Pages := TPages.Create; It := TFPHttpServer.Create(nil);
  It.Port := 8080; It.Threaded := True; It.OnRequest := @Pages.Answer; It.Active := True;
end.
